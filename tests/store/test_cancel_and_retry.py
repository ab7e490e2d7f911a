"""Cancel, retry and deadlines: what a person or the time changes, and what the platform does meanwhile."""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

import pytest

from runware_jobs.core.answers import Answer, JobError
from runware_jobs.core.decisions import SendOutcome, Sent, after_answer, after_loss, after_send
from runware_jobs.errors import JobNotFound, NotPossible
from runware_jobs.steps.cancel import cancel, retry, retry_failed
from runware_jobs.steps.words import item_error
from runware_jobs.store.batches import complete_batches, create_batch, seal_batch
from runware_jobs.store.deadlines import end_late_jobs
from runware_jobs.store.jobs import read_jobs
from runware_jobs.store.moves import carry_out, lock_owned
from tests.support.queued import accept_tasks, claim_jobs, enqueue_jobs
from tests.support.rows import (
    NOTHING_UNDER_WAY,
    change_rows,
    read_attempts,
    read_counters,
    read_event_types,
    read_job,
    read_rows,
)

DONE = Answer(({"status": "success", "resultIndex": 0, "imageURL": "u", "cost": 0.002},))
ASKED = {"tenant": None, "accept_double_billing": False}


async def apply(connection, owner, task, decide):
    live = await lock_owned(connection, owner, [task])
    await carry_out(connection, [decide(one) for one in live.values()])


def finished(live):
    return after_answer(live, DONE, classify=item_error, random=0.5)


def sent(what, **values):
    return lambda live: after_send(live, SendOutcome(what, **values), classify=item_error, random=0.5)


def refused(live):
    return sent(Sent.REFUSED, error=JobError("validation", "no"))(live)


async def claimed(connection, owner, **options):
    [job_id] = await enqueue_jobs(connection, **options)
    [job] = await claim_jobs(connection, owner)
    return job_id, job.task_uuid


async def running(connection, owner, **options):
    job_id, task = await claimed(connection, owner, **options)
    await accept_tasks(connection, owner, [task])
    return job_id, task


async def test_cancel_before_the_send_is_free_and_final(engine, owner):
    async with engine.begin() as connection:
        [job_id] = await enqueue_jobs(connection)
        assert await cancel(connection, job_id, tenant="default")
        assert not await cancel(connection, job_id, tenant="default")
        job = await read_job(connection, job_id)
        none = await claim_jobs(connection, owner)
        types = await read_event_types(connection, job_id)

    assert (job["state"], job["billing"]) == ("canceled", "none")
    assert list(none) == []
    assert types == ["job.queued", "job.canceled"]


async def test_cancel_of_a_handed_back_job_ends_its_attempt_unsent(engine, owner):
    async with engine.begin() as connection:
        job_id, task = await claimed(connection, owner)
        await apply(connection, owner, task, sent(Sent.BUSY))
        await cancel(connection, job_id, tenant=None)
        [attempt] = await read_attempts(connection, job_id)
        counters = await read_counters(connection)

    assert (attempt["state"], attempt["outcome"]) == ("ended", "not_sent")
    assert counters == NOTHING_UNDER_WAY


async def test_late_results_of_a_canceled_job_add_rows_and_cost(engine, owner):
    async with engine.begin() as connection:
        job_id, task = await running(connection, owner)
        await cancel(connection, job_id, tenant=None)
        detached = await read_job(connection, job_id)
        await apply(connection, owner, task, finished)
        job = await read_job(connection, job_id)
        view = (await read_jobs(connection, [job_id]))[job_id]
        types = await read_event_types(connection, job_id)
        counters = await read_counters(connection)

    assert (detached["state"], detached["billing"]) == ("canceled", "detached")
    assert ("canceled", "billed", Decimal("0.002")) == (job["state"], job["billing"], job["cost_usd"])
    assert len(view["results"]) == 1
    assert types[-3:] == ["job.canceled", "job.result", "job.cost"]
    assert counters == NOTHING_UNDER_WAY


async def test_task_of_a_canceled_job_that_was_not_taken_costs_nothing_after_all(engine, owner):
    async with engine.begin() as connection:
        job_id, task = await claimed(connection, owner)
        await cancel(connection, job_id, tenant=None)
        await apply(connection, owner, task, sent(Sent.NOT_SENT))
        job = await read_job(connection, job_id)
        types = await read_event_types(connection, job_id)
        counters = await read_counters(connection)

    assert (job["state"], job["billing"]) == ("canceled", "none")
    assert types[-1] == "job.cost"
    assert counters == NOTHING_UNDER_WAY


async def test_what_an_earlier_item_cost_stays_billed_when_the_rest_costs_nothing(engine, owner):
    broken = {"status": "error", "resultIndex": 0, "cost": 0.5, "error": {"code": "timeoutProvider"}}
    still_open = {"status": "processing"}
    async with engine.begin() as connection:
        job_id, task = await running(connection, owner, params={"numberResults": 2})
        first, rest = Answer((broken, still_open)), Answer(errors=(JobError("timeout", "slow"),))
        await apply(
            connection, owner, task, lambda live: after_answer(live, first, classify=item_error, random=0)
        )
        await cancel(connection, job_id, tenant=None)
        await apply(
            connection, owner, task, lambda live: after_answer(live, rest, classify=item_error, random=0)
        )
        job = await read_job(connection, job_id)

    assert (job["billing"], job["cost_usd"]) == ("billed", Decimal("0.5"))


@pytest.mark.parametrize("tenant", ["other", "default"])
async def test_job_of_another_tenant_is_not_there(engine, owner, tenant):
    async with engine.begin() as connection:
        [job_id] = await enqueue_jobs(connection, tenant="mine")
        with pytest.raises(JobNotFound):
            await cancel(connection, job_id, tenant=tenant)
        with pytest.raises(JobNotFound):
            await retry(connection, job_id, tenant=tenant, accept_double_billing=False)


async def test_retry_is_a_new_run_with_another_task(engine, owner):
    async with engine.begin() as connection:
        job_id, task = await claimed(connection, owner)
        await apply(connection, owner, task, refused)
        await retry(connection, job_id, **ASKED)
        [again] = await claim_jobs(connection, owner)
        job = await read_job(connection, job_id)
        runs = await read_rows(connection, "SELECT type, run FROM event ORDER BY seq")

    assert task != again.task_uuid
    assert tuple(job[name] for name in ("run", "attempts", "error", "state")) == (2, 1, None, "submitting")
    assert runs[-1] == {"type": "job.retrying", "run": 2}


@pytest.mark.parametrize("state", ["accepted", "sending", "unclear"])
async def test_retry_takes_up_a_task_that_has_not_ended(engine, owner, state):
    async with engine.begin() as connection:
        job_id, task = await (running if state == "accepted" else claimed)(connection, owner)
        if state == "unclear":
            await apply(connection, owner, task, sent(Sent.UNCLEAR))
        await cancel(connection, job_id, tenant=None)
        await retry(connection, job_id, **ASKED)
        taken_up = await read_job(connection, job_id)
        await apply(connection, owner, task, finished)
        job = await read_job(connection, job_id)
        attempts = await read_attempts(connection, job_id)

    assert ("running" if state == "accepted" else "submitting") == taken_up["state"]
    assert (job["state"], job["run"], len(attempts)) == ("succeeded", 1, 1)


async def test_retry_of_what_may_have_been_billed_needs_consent(engine, owner):
    async with engine.begin() as connection:
        job_id, task = await running(connection, owner)
        await apply(connection, owner, task, lambda live: after_loss(live, "gone"))
        with pytest.raises(NotPossible) as denied:
            await retry(connection, job_id, **ASKED)
        await retry(connection, job_id, tenant=None, accept_double_billing=True)
        job = await read_job(connection, job_id)

    assert denied.value.parameter == "accept_double_billing"
    assert (job["state"], job["run"], job["billing"]) == ("queued", 2, "none")


async def test_job_that_goes_on_cannot_be_retried(engine, owner):
    async with engine.begin() as connection:
        job_id, _ = await running(connection, owner)
        with pytest.raises(NotPossible, match="running"):
            await retry(connection, job_id, **ASKED)


async def open_batch(connection):
    batch_id = uuid4()
    await create_batch(connection, batch_id, tenant="default", name="", budget_usd=None)
    return batch_id


async def test_retry_failed_skips_what_may_have_been_billed_and_says_so(engine, owner):
    async with engine.begin() as connection:
        batch_id = await open_batch(connection)
        for decide in (refused, refused, lambda live: after_loss(live, "gone"), finished):
            _, task = await claimed(connection, owner, batch_id=batch_id)
            await apply(connection, owner, task, decide)
        late, _ = await running(connection, owner, batch_id=batch_id, deadline_s=60)
        await change_rows(connection, "UPDATE job SET deadline_at = now()")
        await end_late_jobs(connection, limit=9)
        counts = await retry_failed(connection, batch_id)
        adopted = await read_job(connection, late)
        states = await read_rows(connection, "SELECT state, count(*) AS jobs FROM job GROUP BY 1 ORDER BY 1")

    assert (counts.retried, counts.skipped) == (3, 1)
    assert (adopted["state"], adopted["run"]) == ("running", 1)
    assert {row["state"]: row["jobs"] for row in states} == {
        "failed": 1,
        "queued": 2,
        "running": 1,
        "succeeded": 1,
    }


async def test_batch_of_a_retried_job_completes_again(engine, owner):
    async with engine.begin() as connection:
        batch_id = await open_batch(connection)
        job_id, task = await claimed(connection, owner, batch_id=batch_id)
        await seal_batch(connection, batch_id)
        await apply(connection, owner, task, refused)
        first = await complete_batches(connection)
        await retry(connection, job_id, **ASKED)
        none_while_it_runs = await complete_batches(connection)
        [again] = await claim_jobs(connection, owner)
        await apply(connection, owner, again.task_uuid, refused)
        second = await complete_batches(connection)

    assert ([batch_id], [], [batch_id]) == (first, none_while_it_runs, second)


@pytest.mark.parametrize(
    ("label", "options", "message"),
    [
        ("the whole", {"deadline_s": 60}, "deadline has passed"),
        ("the start", {"start_deadline_s": 60}, "not started"),
    ],
)
async def test_deadline_fails_a_waiting_job(engine, owner, label, options, message):
    async with engine.begin() as connection:
        [job_id] = await enqueue_jobs(connection, **options)
        too_early = await end_late_jobs(connection, limit=9)
        await change_rows(
            connection,
            "UPDATE job SET deadline_at = deadline_at - interval '1 min',"
            " start_deadline_at = start_deadline_at - interval '1 min'",
        )
        late = await end_late_jobs(connection, limit=9)
        job = await read_job(connection, job_id)

    assert ({}, {job_id: "failed"}) == (too_early, late)
    assert (job["state"], job["error"]["code"], job["billing"]) == ("failed", "timeout", "none")
    assert message in job["error"]["message"]


async def test_deadline_ends_the_job_and_not_its_task(engine, owner):
    async with engine.begin() as connection:
        job_id, task = await running(connection, owner, deadline_s=60)
        await change_rows(connection, "UPDATE job SET deadline_at = now()")
        await end_late_jobs(connection, limit=9)
        failed = await read_job(connection, job_id)
        await apply(connection, owner, task, finished)
        job = await read_job(connection, job_id)

    assert (failed["state"], failed["billing"]) == ("failed", "detached")
    assert ("failed", "billed", Decimal("0.002")) == (job["state"], job["billing"], job["cost_usd"])


@pytest.mark.parametrize(("on_partial", "state"), [("succeed", "succeeded"), ("fail", "failed")])
async def test_results_that_came_before_the_deadline_count(engine, owner, on_partial, state):
    good = {"status": "success", "resultIndex": 0, "imageUUID": "m-1", "cost": 0.5}
    first, rest = (
        Answer((good, {"status": "processing"})),
        Answer((good, good | {"resultIndex": 1, "imageUUID": "m-2"})),
    )
    async with engine.begin() as connection:
        job_id, task = await running(
            connection, owner, params={"numberResults": 2}, deadline_s=60, on_partial=on_partial
        )
        await apply(
            connection, owner, task, lambda live: after_answer(live, first, classify=item_error, random=0)
        )
        await change_rows(connection, "UPDATE job SET deadline_at = now()")
        late = await end_late_jobs(connection, limit=9)
        at_deadline = await read_job(connection, job_id)
        await apply(
            connection, owner, task, lambda live: after_answer(live, rest, classify=item_error, random=0)
        )
        view = (await read_jobs(connection, [job_id]))[job_id]

    assert late == {job_id: state}
    assert (at_deadline["billing"], at_deadline["error"] is None) == ("detached", state == "succeeded")
    assert (view["state"], len(view["results"]), view["cost_usd"]) == (state, 2, 1)


async def test_job_that_waits_for_its_second_attempt_is_not_late_to_start(engine, owner):
    async with engine.begin() as connection:
        _, task = await running(connection, owner, start_deadline_s=60)
        failing = Answer(errors=(JobError("timeout", "slow"),))
        await apply(
            connection, owner, task, lambda live: after_answer(live, failing, classify=item_error, random=0)
        )
        await change_rows(connection, "UPDATE job SET start_deadline_at = now() - interval '1 min'")
        late = await end_late_jobs(connection, limit=9)

    assert late == {}


async def test_retry_failed_goes_piece_by_piece_and_takes_up_where_it_was_interrupted(engine, owner):
    async with engine.begin() as connection:
        batch_id = await open_batch(connection)
        for decide in (refused, refused, lambda live: after_loss(live, "gone"), refused, refused):
            _, task = await claimed(connection, owner, batch_id=batch_id)
            await apply(connection, owner, task, decide)
    async with engine.begin() as connection:
        first = await retry_failed(connection, batch_id, limit=2)
    async with engine.connect() as connection:
        await retry_failed(connection, batch_id, after=first.last, limit=2)  # killed before it committed
    pieces = []
    last = None  # begun anew
    while last is not None or not pieces:
        async with engine.begin() as connection:
            pieces.append(await retry_failed(connection, batch_id, after=last, limit=2))
        last = pieces[-1].last
    async with engine.connect() as connection:
        jobs = await read_rows(
            connection, "SELECT state, run, count(*) AS jobs FROM job GROUP BY 1, 2 ORDER BY 1"
        )

    assert (first.retried, first.skipped) == (2, 0)
    assert (sum(one.retried for one in pieces), sum(one.skipped for one in pieces)) == (2, 1)
    assert jobs == [{"state": "failed", "run": 1, "jobs": 1}, {"state": "queued", "run": 2, "jobs": 4}]
