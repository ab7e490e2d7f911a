"""After a restore: what the copy has lost is found under the task UUIDs that it would have had."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from runware_jobs.client import create_runware_error
from runware_jobs.errors import NotPossible
from runware_jobs.steps.recover import recover
from runware_jobs.steps.rescue import adopt
from runware_jobs.steps.submit import submit
from runware_jobs.store import pauses
from tests.steps.conftest import follow
from tests.steps.test_submit_and_poll import added, make_due
from tests.support.copies import Copy
from tests.support.rows import NOTHING_UNDER_WAY, change_rows, read_counters, read_rows


@pytest.fixture
async def restored(engine, emulator, workers, clean_database):
    """Thirty jobs; the copy knows ten as sent; ten more were sent since, one of them failed and went on."""
    emulator.configure(latencies={"image": 20})
    await added(engine, 30, max_attempts=3)
    emulator.inject(
        {"on": "submit", "count": 12, "rate": 1, "action": {"kind": "item_error", "code": "timeoutProvider"}}
    )
    async with workers(submit_group_size=10) as context:
        watches = (await submit(context)).watches
        copy = Copy(clean_database)
        watches += (await submit(context)).watches
        await follow(context, watches)
        await make_due(engine)
        async with engine.begin() as connection:
            await change_rows(connection, "DELETE FROM flow")
        await follow(context, (await submit(context)).watches)
    copy.restore()
    async with engine.begin() as connection:
        await change_rows(connection, "UPDATE process SET heartbeat_at = now() - interval '1 hour'")
    return copy


async def go_on(engine, workers):
    """Let a worker do what is left."""
    async with workers() as context:
        await follow(context, await adopt(context))
        for _ in range(8):
            await make_due(engine)
            await follow(context, (await submit(context)).watches)


async def test_each_job_is_paid_once_after_a_restore(engine, emulator, workers, restored):
    emulator.configure(switches={"conflict": "running"})  # a send of what has ended would be paid again
    async with workers() as context:
        seen = await recover(context, since=restored.taken_at, sends_unknown=False, told=lambda _: None)
    async with workers() as context:
        again = await recover(context, since=restored.taken_at, sends_unknown=False, told=lambda _: None)
    await go_on(engine, workers)
    async with engine.connect() as connection:
        states = await read_rows(connection, "SELECT state, count(*) AS jobs FROM job GROUP BY 1")
        [costs] = await read_rows(connection, "SELECT sum(cost_usd) AS usd FROM job")
        attempts = await read_rows(connection, "SELECT CAST(task_uuid AS text) AS task FROM attempt")
        counters = await read_counters(connection)
    ledger = emulator.ledger()

    assert (seen.is_resumed, again.is_resumed) == (True, True)
    assert seen.found >= 10
    assert again.found == 0
    assert states == [{"state": "succeeded", "jobs": 30}]
    assert [task for task in ledger["tasks"].values() if task["accepted"] > 1] == []
    assert {row["task"] for row in attempts} == set(ledger["tasks"])
    assert f"{costs['usd']:.6f}" == ledger["totals"]["billed_usd"]
    assert counters == NOTHING_UNDER_WAY


async def test_copy_that_is_too_old_sends_nothing_that_nobody_knows(engine, emulator, workers, restored):
    before = emulator.ledger()["totals"]["accepted"]
    async with workers(reconcile_max_age_s=3600) as context:
        seen = await recover(
            context, since=restored.taken_at - timedelta(days=2), sends_unknown=False, told=lambda _: None
        )
        await follow(context, (await submit(context)).watches, polls=1)
    async with engine.connect() as connection:
        held = await read_rows(connection, "SELECT count(*) AS attempts FROM attempt WHERE state = 'unclear'")

    assert seen.held > 0
    assert [{"attempts": seen.held}] == held
    assert emulator.ledger()["totals"]["accepted"] == before


async def test_recovery_waits_until_no_worker_is_alive(engine, emulator, workers):
    await added(engine)
    async with workers(), workers() as context:
        async with engine.connect() as connection:
            [row] = await read_rows(connection, "SELECT now() AS now")
        with pytest.raises(NotPossible, match="alive"):
            await recover(context, since=row["now"], sends_unknown=False, told=lambda _: None)
        submitted = await submit(context)

    assert submitted.claimed == 0


async def test_account_that_a_person_has_paused_stays_paused(engine, emulator, workers, restored):
    async with workers() as context:
        async with engine.begin() as connection:
            await pauses.pause_by_hand(connection, context.owner.account_id, reason="prices")
        seen = await recover(context, since=restored.taken_at, sends_unknown=False, told=lambda _: None)
    async with engine.connect() as connection:
        [account] = await read_rows(connection, "SELECT state, pause_reason FROM account")

    assert not seen.is_resumed
    assert account == {"state": "paused", "pause_reason": "prices"}


class WithoutArchive:
    """The platform whose archive never answers this key."""

    def __init__(self, client):
        self._client = client

    def __getattr__(self, name):
        return getattr(self._client, name)

    async def get_task_details(self, _params):
        raise create_runware_error("", "away", status_code=503)


async def test_archive_that_never_answers_is_not_waited_for_without_end(engine, emulator, workers, restored):
    """What nobody said anything of is named and is not sent; a later run goes on with it."""
    before = emulator.ledger()["totals"]["accepted"]
    async with workers() as worker:
        context = replace(worker, client=WithoutArchive(worker.client))
        seen = await recover(
            context, since=restored.taken_at, sends_unknown=False, told=lambda _: None, patience_s=0.0
        )
    async with engine.connect() as connection:
        queued = await read_rows(connection, "SELECT id FROM job WHERE state = 'queued' ORDER BY id")
        [account] = await read_rows(connection, "SELECT state FROM account")
    async with workers() as context:
        again = await recover(context, since=restored.taken_at, sends_unknown=False, told=lambda _: None)

    assert not seen.is_resumed
    assert seen.found >= 10
    assert {row["id"] for row in queued} <= set(seen.unanswered_jobs)
    assert seen.unanswered > 0
    assert account == {"state": "paused"}
    assert (again.is_resumed, again.unanswered_jobs) == (True, ())
    assert emulator.ledger()["totals"]["accepted"] == before
