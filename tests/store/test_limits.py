"""Limits of models and lanes: what a claim leaves in the queue, and what the platform's answers change."""

from __future__ import annotations

import pytest

from runware_jobs.core.answers import Answer, JobError
from runware_jobs.core.decisions import SendOutcome, Sent, after_answer, after_send
from runware_jobs.core.limits import BURST
from runware_jobs.core.states import Lane
from runware_jobs.steps.words import item_error
from runware_jobs.store.flows import limit_flow, pause_flow, read_flows, resume_flow
from runware_jobs.store.moves import carry_out, lock_owned
from runware_jobs.store.recount import recount
from tests.support.queued import accept_tasks, claim_jobs, enqueue_jobs, register_worker
from tests.support.rows import change_rows, read_rows

MODEL = "runware:400@1"
DONE = {"status": "success", "resultIndex": 0, "imageURL": "u", "cost": 0.25}
FAILED = {"status": "error", "resultIndex": 0, "error": {"code": "providerError", "message": "down"}}


async def flow_of(connection, model=MODEL):
    [row] = await read_rows(connection, "SELECT * FROM flow WHERE model = :model", model=model)
    return row


async def end(connection, owner, jobs, item):
    await accept_tasks(connection, owner, [job.task_uuid for job in jobs])
    live = await lock_owned(connection, owner, [job.task_uuid for job in jobs])
    await carry_out(
        connection,
        [after_answer(one, Answer((item,)), classify=item_error, random=0.5) for one in live.values()],
    )


async def refuse(connection, owner, jobs, *, retry_after_s=None):
    live = await lock_owned(connection, owner, [job.task_uuid for job in jobs])
    outcome = SendOutcome(Sent.BUSY, error=JobError("rateLimit", "full"), retry_after_s=retry_after_s)
    await carry_out(
        connection, [after_send(one, outcome, classify=item_error, random=0.5) for one in live.values()]
    )


async def make_due(connection):
    await change_rows(connection, "UPDATE job SET run_at = now() - interval '1 s' WHERE state = 'queued'")


async def pass_probe_time(connection):
    await change_rows(connection, "UPDATE flow SET probe_at = now() - interval '1 s' WHERE state <> 'open'")
    await make_due(connection)


async def break_down(connection, owner):
    """Let the provider of MODEL fail until its flow is paused."""
    await enqueue_jobs(connection, BURST, max_attempts=1)
    await end(connection, owner, await claim_jobs(connection, owner, limit=BURST), FAILED)


async def test_a_models_limit_holds_and_leaves_other_models_alone(engine, owner):
    async with engine.begin() as connection:
        await enqueue_jobs(connection, 9)
        other = await enqueue_jobs(connection, 2, params={"model": "runware:101@1"})
        await limit_flow(connection, owner.account_id, Lane.IMAGE, MODEL, max_in_flight=3)
        first = await claim_jobs(connection, owner)
        none = await claim_jobs(connection, owner)
        await end(connection, owner, [job for job in first if job.model == MODEL][:2], DONE)
        again = await claim_jobs(connection, owner)

    assert (len(first), len(none), len(again)) == (5, 0, 2)
    assert set(other) < {job.job_id for job in first}


async def test_a_lanes_limit_holds_over_all_its_models(engine, owner):
    async with engine.begin() as connection:
        for n in range(4):
            await enqueue_jobs(connection, 2, params={"model": f"runware:{n}@1"})
        text = await enqueue_jobs(connection, params={"taskType": "caption", "model": ""})
        await limit_flow(connection, owner.account_id, Lane.IMAGE, None, max_in_flight=3)
        claimed = [*await claim_jobs(connection, owner, limit=2), *await claim_jobs(connection, owner)]

    assert [job.lane for job in claimed].count(Lane.IMAGE) == 3
    assert text[0] in {job.job_id for job in claimed}


async def test_full_model_does_not_hide_what_waits_behind_it(engine, owner):
    """More of its batches than a claim looks at stand before the other model's only job."""
    async with engine.begin() as connection:
        for priority in range(10):
            for tenant in range(8):
                await enqueue_jobs(connection, priority=priority, tenant=f"t{tenant}")
        [behind] = await enqueue_jobs(connection, params={"model": "runware:101@1"}, tenant="t0", priority=0)
        await limit_flow(connection, owner.account_id, Lane.IMAGE, MODEL, max_in_flight=1)
        claimed = await claim_jobs(connection, owner, limit=5)

    assert len(claimed) == 2
    assert behind in {job.job_id for job in claimed}


@pytest.mark.parametrize("model", [None, MODEL])
async def test_pause_by_hand_stays_until_a_person_ends_it(engine, owner, model):
    async with engine.begin() as connection:
        await enqueue_jobs(connection, 2)
        running = await claim_jobs(connection, owner, limit=1)
        paused = await pause_flow(connection, owner.account_id, Lane.IMAGE, model, reason="hand")
        twice = await pause_flow(connection, owner.account_id, Lane.IMAGE, model, reason="again")
        await end(connection, owner, running, DONE)
        while_paused = await claim_jobs(connection, owner)
        resumed = await resume_flow(connection, owner.account_id, Lane.IMAGE, model)
        after = await claim_jobs(connection, owner)

    assert (paused, twice, resumed) == (True, False, True)
    assert (len(while_paused), len(after)) == (0, 1)


async def test_refusals_cut_the_model_and_successes_lift_the_cut(engine, owner):
    async with engine.begin() as connection:
        await enqueue_jobs(connection, 60)
        taken = await claim_jobs(connection, owner, limit=10)
        await accept_tasks(connection, owner, [job.task_uuid for job in taken])
        await refuse(connection, owner, await claim_jobs(connection, owner, limit=40))
        cut = await flow_of(connection)
        await make_due(connection)
        none = await claim_jobs(connection, owner)
        for job in taken:
            await end(connection, owner, [job], DONE)
        rows = await claim_jobs(connection, owner, limit=6)
        await end(connection, owner, rows, DONE)
        lifted = await flow_of(connection)

    assert (cut["in_flight"], cut["allowed"], cut["state"]) == (10, 8.0, "open")
    assert len(none) == 0
    assert lifted["allowed"] is None


async def test_ordinary_success_writes_nothing_but_the_count(engine, owner):
    async with engine.begin() as connection:
        await enqueue_jobs(connection, 2)
        before = await claim_jobs(connection, owner)
        await end(connection, owner, before, DONE)
        flow = await flow_of(connection)

    assert (flow["in_flight"], flow["allowed"], flow["cut_at"], flow["failures"], flow["state"]) == (
        0,
        None,
        None,
        0,
        "open",
    )


async def test_errors_of_a_provider_pause_its_model_only_and_one_job_probes(engine, owner):
    async with engine.begin() as connection:
        await break_down(connection, owner)
        await enqueue_jobs(connection, 3)
        [other] = await enqueue_jobs(connection, params={"model": "runware:101@1"})
        while_paused = await claim_jobs(connection, owner)
        await pass_probe_time(connection)
        probe = await claim_jobs(connection, owner)
        none_beside_it = await claim_jobs(connection, owner)
        flow = await flow_of(connection)
        await end(connection, owner, probe, DONE)
        opened = await claim_jobs(connection, owner)

    assert [other] == [job.job_id for job in while_paused]
    assert (len(probe), len(none_beside_it), len(opened)) == (1, 0, 2)
    assert (flow["state"], flow["pause_reason"]) == ("probing", "provider")


async def test_probe_that_fails_pauses_for_longer(engine, owner):
    async with engine.begin() as connection:
        await break_down(connection, owner)
        [first] = await read_rows(
            connection, "SELECT EXTRACT(EPOCH FROM probe_at - clock_timestamp()) AS s FROM flow"
        )
        await enqueue_jobs(connection, 2, max_attempts=1)
        await pass_probe_time(connection)
        await end(connection, owner, await claim_jobs(connection, owner), FAILED)
        [second] = await read_rows(
            connection, "SELECT state, EXTRACT(EPOCH FROM probe_at - clock_timestamp()) AS s FROM flow"
        )
        none = await claim_jobs(connection, owner)

    assert second["state"] == "paused"
    assert second["s"] > 1.5 * float(first["s"])
    assert len(none) == 0


async def test_probe_of_a_worker_that_died_does_not_block_for_ever(engine, owner):
    async with engine.begin() as connection:
        await break_down(connection, owner)
        await enqueue_jobs(connection, 3)
        await pass_probe_time(connection)
        lost = await claim_jobs(connection, owner)
        none = await claim_jobs(connection, owner)
        await pass_probe_time(connection)
        next_probe = await claim_jobs(connection, owner)

    assert (len(lost), len(none), len(next_probe)) == (1, 0, 1)


async def test_model_that_takes_nothing_is_asked_by_one_job_after_its_retry_after(engine, owner):
    async with engine.begin() as connection:
        await enqueue_jobs(connection, 9)
        await refuse(connection, owner, await claim_jobs(connection, owner, limit=5), retry_after_s=40)
        [flow] = await read_rows(
            connection, "SELECT state, pause_reason, EXTRACT(EPOCH FROM probe_at - now()) AS s FROM flow"
        )
        await make_due(connection)
        while_paused = await claim_jobs(connection, owner)
        await pass_probe_time(connection)
        probe = await claim_jobs(connection, owner)

    assert (flow["state"], flow["pause_reason"]) == ("paused", "busy")
    assert flow["s"] >= 40
    assert (len(while_paused), len(probe)) == (0, 1)


async def test_person_takes_over_a_pause_of_the_platforms(engine, owner):
    async with engine.begin() as connection:
        await break_down(connection, owner)
        taken_over = await pause_flow(connection, owner.account_id, Lane.IMAGE, MODEL, reason="hand")
        await enqueue_jobs(connection)
        await pass_probe_time(connection)
        await change_rows(connection, "UPDATE flow SET probe_at = NULL")
        none = await claim_jobs(connection, owner)
        await resume_flow(connection, owner.account_id, Lane.IMAGE, MODEL)
        after = await claim_jobs(connection, owner)

    assert taken_over
    assert (len(none), len(after)) == (0, 1)


async def test_lanes_show_what_is_in_flight_limited_paused_and_queued(engine, owner):
    async with engine.begin() as connection:
        await enqueue_jobs(connection, 3)
        await claim_jobs(connection, owner, limit=1)
        await limit_flow(connection, owner.account_id, Lane.IMAGE, MODEL, max_in_flight=2)
        await limit_flow(connection, owner.account_id, Lane.VIDEO, None, max_in_flight=4)
        await pause_flow(connection, owner.account_id, Lane.VIDEO, None, reason="hand")
        shown = [
            {name: row[name] for name in ("lane", "model", "in_flight", "max_in_flight", "state", "queued")}
            for row in await read_flows(connection, owner.account_id)
        ]
        await limit_flow(connection, owner.account_id, Lane.VIDEO, None, max_in_flight=None)
        await resume_flow(connection, owner.account_id, Lane.VIDEO, None)
        rows = await read_rows(connection, "SELECT lane_limits FROM account")

    columns = ("lane", "model", "in_flight", "max_in_flight", "state", "queued")
    assert shown == [
        dict(zip(columns, values, strict=True))
        for values in (
            ("image", None, 1, None, "open", 2),
            ("image", MODEL, 1, 2, "open", 2),
            ("video", None, 0, 4, "paused", 0),
        )
    ]
    assert rows == [{"lane_limits": {}}]


async def test_recount_finds_every_counter_that_drifted_and_puts_it_right(engine, owner):
    async with engine.begin() as connection:
        await change_rows(connection, "INSERT INTO tenant (name) VALUES ('default')")
        await change_rows(
            connection,
            "INSERT INTO estimate (model, size, samples, duration_s, cost_usd) VALUES (:model, '', 1, 1, 0.25)",
            model=MODEL,
        )
        await enqueue_jobs(connection, 3)
        await claim_jobs(connection, owner, limit=2)
        right = await recount(connection, owner.account_id)
        for table, counters in (
            ("account", "in_flight = 7, held_usd = 3"),
            ("bucket", "in_flight = 0"),
            ("tenant", "held_usd = 9"),
        ):
            await change_rows(connection, f"UPDATE {table} SET {counters}")
        await change_rows(connection, "DELETE FROM flow")
        found = {
            (one.table, one.counter): (one.was, one.now)
            for one in await recount(connection, owner.account_id)
        }
        again = await recount(connection, owner.account_id)

    assert [*right, *again] == []
    assert {name: tuple(map(float, values)) for name, values in found.items()} == {
        ("account", "in_flight"): (7, 2),
        ("account", "held_usd"): (3, 0.5),
        ("flow", "in_flight"): (0, 2),
        ("bucket", "in_flight"): (0, 2),
        ("tenant", "held_usd"): (9, 0.5),
    }


async def test_flow_belongs_to_its_account(engine, owner):
    async with engine.begin() as connection:
        await enqueue_jobs(connection)
        await pause_flow(connection, owner.account_id, Lane.IMAGE, MODEL, reason="hand")
        other = await register_worker(connection, organisation="other")
        await enqueue_jobs(connection)
        theirs = await claim_jobs(connection, other)
        ours = await claim_jobs(connection, owner)

    assert (len(theirs), len(ours)) == (1, 0)
