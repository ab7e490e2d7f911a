"""Retry asks for what is missing: no result that has arrived is asked for, and paid, again."""

from __future__ import annotations

import random
from decimal import Decimal
from uuid import uuid4

import pytest

from runware_jobs.core.answers import Answer
from runware_jobs.core.decisions import after_answer
from runware_jobs.core.states import FINAL
from runware_jobs.core.task_types import asking_for, results_expected
from runware_jobs.core.views import batch_view, job_view
from runware_jobs.errors import NotPossible
from runware_jobs.steps.cancel import Retried, cancel, retry, retry_failed
from runware_jobs.steps.words import item_error
from runware_jobs.store.batches import complete_batches, create_batch, read_batch, seal_batch
from runware_jobs.store.jobs import read_jobs
from runware_jobs.store.moves import carry_out, lock_owned
from tests.support.queued import accept_tasks, claim_jobs, enqueue_jobs
from tests.support.rows import NOTHING_UNDER_WAY, read_counters, read_event_types, read_job, read_rows

ASKED = {"tenant": None, "accept_double_billing": False}
FOUR = {"numberResults": 4, "seed": 10}
COST = 0.01


def success(index, run=1):
    return {"status": "success", "resultIndex": index, "imageURL": f"r{run}i{index}", "cost": COST}


def failure(index):
    return {"status": "error", "resultIndex": index, "error": {"code": "providerError", "message": "no"}}


async def answered(connection, owner, task, *items, errors=()):
    live = await lock_owned(connection, owner, [task])
    answer = Answer(items, tuple(errors))
    await carry_out(
        connection, [after_answer(one, answer, classify=item_error, random=0) for one in live.values()]
    )


async def started(connection, owner, **options):
    [job_id] = await enqueue_jobs(connection, params=FOUR, **options)
    [claimed] = await claim_jobs(connection, owner)
    await accept_tasks(connection, owner, [claimed.task_uuid])
    return job_id, claimed


async def claimed_again(connection, owner, job_id):
    await retry(connection, job_id, **ASKED)
    [claimed] = await claim_jobs(connection, owner)
    return claimed


async def view_of(connection, job_id):
    return job_view((await read_jobs(connection, [job_id]))[job_id])


async def test_retry_asks_for_the_missing_ones_and_shows_all_that_came(engine, owner):
    async with engine.begin() as connection:
        job_id, first = await started(connection, owner, on_partial="fail")
        await answered(connection, owner, first.task_uuid, success(0), failure(1), success(2), failure(3))
        failed = await view_of(connection, job_id)
        second = await claimed_again(connection, owner, job_id)
        await accept_tasks(connection, owner, [second.task_uuid])
        await answered(connection, owner, second.task_uuid, success(0, run=2), success(1, run=2))
        job = await view_of(connection, job_id)
        counters = await read_counters(connection)

    assert (failed["state"], len(failed["results"]), len(failed["failures"])) == ("failed", 2, 2)
    assert second.results_expected == 2
    assert asking_for(second.params, 2, run=second.run)["numberResults"] == 2
    assert [item["imageURL"] for item in job["results"]] == ["r1i0", "r1i2", "r2i0", "r2i1"]
    assert (job["state"], job["failures"], job["run"]) == ("succeeded", [], 2)
    assert (job["cost_usd"], job["billing"]) == ("0.04", "billed")
    assert counters == NOTHING_UNDER_WAY


async def test_failures_shown_are_those_of_the_present_run(engine, owner):
    async with engine.begin() as connection:
        job_id, first = await started(connection, owner, on_partial="fail")
        await answered(connection, owner, first.task_uuid, success(0), success(1), success(2), failure(3))
        second = await claimed_again(connection, owner, job_id)
        await accept_tasks(connection, owner, [second.task_uuid])
        while_it_runs = await view_of(connection, job_id)
        await answered(
            connection, owner, second.task_uuid, {**failure(0), "error": {"code": "nsfwContentDetected"}}
        )
        job = await view_of(connection, job_id)

    assert (second.results_expected, while_it_runs["failures"]) == (1, [])
    assert (len(job["results"]), [error["code"] for error in job["failures"]]) == (3, ["safety"])
    assert (job["state"], job["billing"], job["cost_usd"]) == ("failed", "billed", "0.03")


async def test_third_run_asks_for_what_two_have_left(engine, owner):
    seeds = []
    async with engine.begin() as connection:
        job_id, claimed = await started(connection, owner, on_partial="fail")
        for run, arrives in enumerate((1, 2, 1), start=1):
            wanted = asking_for(claimed.params, claimed.results_expected, run=claimed.run)
            seeds.append((wanted["seed"], wanted["numberResults"]))
            items = [success(place, run) for place in range(arrives)]
            items += [failure(place) for place in range(arrives, claimed.results_expected)]
            await answered(connection, owner, claimed.task_uuid, *items)
            if run < 3:
                claimed = await claimed_again(connection, owner, job_id)
                await accept_tasks(connection, owner, [claimed.task_uuid])
        job = await view_of(connection, job_id)

    assert seeds == [(10, 4), (14, 3), (18, 1)]
    assert (job["state"], len(job["results"]), job["cost_usd"]) == ("succeeded", 4, "0.04")


async def test_job_that_late_results_have_completed_is_succeeded_by_a_retry_without_a_task(engine, owner):
    async with engine.begin() as connection:
        job_id, first = await started(connection, owner)
        await cancel(connection, job_id, tenant=None)
        await answered(connection, owner, first.task_uuid, *(success(place) for place in range(4)))
        canceled = await read_job(connection, job_id)
        await retry(connection, job_id, **ASKED)
        job = await view_of(connection, job_id)
        none = await claim_jobs(connection, owner)
        types = await read_event_types(connection, job_id)
        with pytest.raises(NotPossible, match="succeeded"):
            await retry(connection, job_id, **ASKED)

    assert canceled["state"] == "canceled"
    assert (job["state"], job["run"], len(job["results"]), job["cost_usd"]) == ("succeeded", 2, 4, "0.04")
    assert list(none) == []
    assert types[-3:] == ["job.cost", "job.retrying", "job.succeeded"]


async def test_results_that_come_late_to_a_canceled_job_are_not_asked_for_again(engine, owner):
    async with engine.begin() as connection:
        job_id, first = await started(connection, owner)
        await answered(connection, owner, first.task_uuid, success(0))
        await cancel(connection, job_id, tenant=None)
        await answered(connection, owner, first.task_uuid, success(0), success(1), failure(2), failure(3))
        second = await claimed_again(connection, owner, job_id)

    assert second.results_expected == 2


async def test_retry_while_the_task_goes_on_asks_for_nothing(engine, owner):
    async with engine.begin() as connection:
        job_id, first = await started(connection, owner)
        await answered(connection, owner, first.task_uuid, success(0))
        await cancel(connection, job_id, tenant=None)
        await retry(connection, job_id, **ASKED)
        none = await claim_jobs(connection, owner)
        await answered(connection, owner, first.task_uuid, *(success(place) for place in range(4)))
        job = await view_of(connection, job_id)

    assert list(none) == []
    assert (job["state"], job["run"], len(job["results"]), job["cost_usd"]) == ("succeeded", 1, 4, "0.04")


async def test_batch_counts_and_cost_hold_over_runs(engine, owner):
    batch_id = uuid4()
    async with engine.begin() as connection:
        await create_batch(connection, batch_id, tenant="default", name="", budget_usd=Decimal(1))
        _, partial = await started(connection, owner, on_partial="fail", batch_id=batch_id)
        await answered(connection, owner, partial.task_uuid, success(0), *(failure(n) for n in (1, 2, 3)))
        late, task = await started(connection, owner, batch_id=batch_id)
        await cancel(connection, late, tenant=None)
        await answered(connection, owner, task.task_uuid, *(success(place) for place in range(4)))
        await seal_batch(connection, batch_id)
        await complete_batches(connection)
        assert await retry_failed(connection, batch_id) == Retried(1, 0, partial.job_id)
        await retry(connection, late, **ASKED)
        [again] = await claim_jobs(connection, owner)
        await accept_tasks(connection, owner, [again.task_uuid])
        await answered(connection, owner, again.task_uuid, *(success(place, 2) for place in range(3)))
        completed = await complete_batches(connection)
        batch = batch_view(await read_batch(connection, batch_id, tenant=None))
        [spent] = await read_rows(connection, "SELECT spent_usd FROM batch")

    assert completed == [batch_id]
    assert (batch["counts"], batch["cost_usd"]) == ({"succeeded": 2}, "0.08")
    assert spent["spent_usd"] == Decimal("0.08")


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_in_whatever_order_no_paid_item_is_asked_for_twice(engine, owner, seed):
    """Cancel, retry and results at random; what a run asks for is what is missing."""
    chance = random.Random(seed)
    asked_in: dict[object, int] = {}
    async with engine.begin() as connection:
        [job_id] = await enqueue_jobs(connection, params=FOUR, on_partial=chance.choice(["fail", "succeed"]))
        for _ in range(60):
            job = await read_job(connection, job_id)
            [arrived] = await read_rows(
                connection, "SELECT count(*) AS n FROM result WHERE state = 'success'"
            )
            alive = await read_rows(connection, "SELECT task_uuid FROM attempt WHERE state <> 'ended'")
            match chance.choice(("claim", "cancel", "retry", "answer", "answer")):
                case "claim":
                    for claimed in await claim_jobs(connection, owner):
                        wanted = asking_for(claimed.params, claimed.results_expected, run=claimed.run)
                        assert results_expected(wanted) + arrived["n"] == 4
                        asked_in[claimed.task_uuid] = results_expected(wanted)
                        await accept_tasks(connection, owner, [claimed.task_uuid])
                case "cancel":
                    await cancel(connection, job_id, tenant=None)
                case "retry" if job["state"] in FINAL - {"succeeded"}:
                    await retry(connection, job_id, **ASKED)
                case "answer" if alive and alive[0]["task_uuid"] in asked_in:
                    task = alive[0]["task_uuid"]
                    items = [
                        chance.choice((success(n, job["run"]), failure(n), {"status": "processing"}))
                        for n in range(asked_in[task])
                    ]
                    known = await read_rows(
                        connection, "SELECT key, item FROM result WHERE task_uuid = :task", task=task
                    )
                    for row in known:  # answers are cumulative
                        items[int(row["key"][1:])] = row["item"]
                    await answered(connection, owner, task, *items)
        job = await view_of(connection, job_id)
        [attempts] = await read_rows(connection, "SELECT COALESCE(sum(cost_usd), 0) AS usd FROM attempt")

    assert len(job["results"]) <= 4
    assert Decimal(job["cost_usd"] or 0) == attempts["usd"] == Decimal(str(COST)) * len(job["results"])
