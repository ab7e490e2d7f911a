"""Pauses of an account: whose they are, who may end them, who is told, and what stands still meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from runware_jobs.core.standing import PauseKind
from runware_jobs.store import accounts, pauses
from runware_jobs.store.deadlines import end_late_jobs
from runware_jobs.store.endpoints import add_endpoint
from runware_jobs.store.vitals import read_vitals
from tests.support.queued import BASE_URL, claim_jobs, enqueue_jobs, register_worker
from tests.support.rows import change_rows, read_job, read_rows

AUTOMATIC = (PauseKind.AUTH, PauseKind.CREDITS)


async def account(connection):
    [row] = await read_rows(
        connection,
        """SELECT state, pause_kind, pause_reason, paused_s, paused_at,
               EXTRACT(EPOCH FROM probe_at - clock_timestamp()) AS probe_in_s FROM account""",
    )
    return row


async def pass_time(connection, seconds):
    """Let the account's instants lie further back, as time would."""
    await change_rows(
        connection,
        "UPDATE account SET paused_at = paused_at - make_interval(secs => :s),"
        " probe_at = probe_at - make_interval(secs => :s)",
        s=seconds,
    )


async def test_pause_by_hand_is_not_ended_and_not_overwritten_by_the_platforms(engine, owner):
    async with engine.begin() as connection:
        first = await pauses.pause_by_hand(connection, owner.account_id, reason="prices")
        again = await pauses.pause_by_hand(connection, owner.account_id, reason="other")
        by_platform = await pauses.pause_for(connection, owner.account_id, PauseKind.AUTH, reason="401")
        await pass_time(connection, 3600)
        probe = await pauses.take_probe(connection, owner.account_id)
        ended = [await pauses.resume_from(connection, owner.account_id, kind) for kind in AUTOMATIC]
        stands = await account(connection)

    assert (first, again, by_platform, probe, ended) == (True, False, False, None, [False, False])
    assert (stands["state"], stands["pause_kind"], stands["pause_reason"]) == ("paused", "hand", "prices")


@pytest.mark.parametrize("kind", AUTOMATIC)
async def test_pause_by_hand_takes_over_the_platforms_and_lasts_since_then(engine, owner, kind):
    async with engine.begin() as connection:
        await pauses.pause_for(connection, owner.account_id, kind, reason="refused")
        await pass_time(connection, 100)
        assert await pauses.pause_by_hand(connection, owner.account_id, reason="I look into it")
        assert not await pauses.resume_from(connection, owner.account_id, kind)
        stands = await account(connection)
        assert await pauses.resume_by_hand(connection, owner.account_id)
        after = await account(connection)

    assert (stands["pause_kind"], stands["probe_in_s"]) == ("hand", None)
    assert (after["state"], after["pause_kind"], after["pause_reason"]) == ("open", None, None)
    assert after["paused_s"] == pytest.approx(100, abs=5)


async def test_pause_of_another_kind_is_not_resumed_for_this_one(engine, owner):
    async with engine.begin() as connection:
        await pauses.pause_for(connection, owner.account_id, PauseKind.AUTH, reason="401")
        assert not await pauses.resume_from(connection, owner.account_id, PauseKind.CREDITS)
        assert await pauses.resume_from(connection, owner.account_id, PauseKind.AUTH)


async def test_one_process_asks_and_the_next_question_comes_later_the_longer_it_lasts(clean_database, engine):
    async with engine.begin() as connection:
        owner = await register_worker(connection)
        await pauses.pause_for(connection, owner.account_id, PauseKind.CREDITS, reason="402")
        too_early = await pauses.take_probe(connection, owner.account_id)

    async def ask():
        async with engine.begin() as connection:
            return await pauses.take_probe(connection, owner.account_id)

    waits = []
    for _ in range(4):
        async with engine.begin() as connection:
            await change_rows(connection, "UPDATE account SET probe_at = clock_timestamp()")
            await pass_time(connection, 100)
        taken = await asyncio.gather(ask(), ask(), ask())
        async with engine.connect() as connection:
            waits.append((await account(connection))["probe_in_s"])
        assert sorted(taken, key=str) == [None, None, PauseKind.CREDITS]
    async with engine.begin() as connection:
        await pass_time(connection, 1e6)
        await pauses.take_probe(connection, owner.account_id)
        longest = (await account(connection))["probe_in_s"]

    assert too_early is None
    assert waits == sorted(waits)
    assert waits[0] >= pauses.PROBE_HELD_S - 1
    assert float(longest) == pytest.approx(pauses.LONGEST_PROBE_S, abs=5)


async def test_pause_after_a_mere_try_asks_later_than_the_one_before(engine, owner):
    async with engine.begin() as connection:
        await pauses.pause_for(connection, owner.account_id, PauseKind.CREDITS, reason="402")
        first = (await account(connection))["probe_in_s"]
        await pass_time(connection, 60)
        await pauses.take_probe(connection, owner.account_id)
        await pauses.resume_from(connection, owner.account_id, PauseKind.CREDITS, tries=True)
        await pauses.pause_for(connection, owner.account_id, PauseKind.CREDITS, reason="402")
        second = (await account(connection))["probe_in_s"]
        await pauses.resume_from(connection, owner.account_id, PauseKind.CREDITS)
        await pauses.pause_for(connection, owner.account_id, PauseKind.CREDITS, reason="402")
        after_a_real_end = (await account(connection))["probe_in_s"]

    assert float(first) == pytest.approx(pauses.FIRST_PROBE_S, abs=1)
    assert float(second) == pytest.approx(120, abs=5)
    assert float(after_a_real_end) == pytest.approx(pauses.FIRST_PROBE_S, abs=1)


async def test_nothing_is_claimed_in_a_pause_and_everything_after_it(engine, owner):
    async with engine.begin() as connection:
        await enqueue_jobs(connection, 3)
        await pauses.pause_for(connection, owner.account_id, PauseKind.AUTH, reason="401")
        assert await claim_jobs(connection, owner) == ()
        await pauses.resume_from(connection, owner.account_id, PauseKind.AUTH)
        assert len(await claim_jobs(connection, owner)) == 3


async def test_told_are_endpoints_that_ask_by_name_each_once_and_nobody_else(engine, owner):
    async with engine.begin() as connection:
        for tenant, events in (
            ("acme", ["account.paused", "account.resumed"]),
            ("acme", ["account.paused"]),
            ("bob", ["account.paused"]),
            ("carol", []),
            ("*", ["job.failed"]),
        ):
            await add_endpoint(
                connection, tenant=tenant, url=f"https://{tenant}.example/h", events=events, secret=b"s"
            )
        await pauses.pause_for(connection, owner.account_id, PauseKind.CREDITS, reason="balance is -3.02 USD")
        await pauses.pause_for(connection, owner.account_id, PauseKind.CREDITS, reason="again")
        await pauses.resume_from(connection, owner.account_id, PauseKind.CREDITS)
        told = await read_rows(
            connection,
            """SELECT event.type, endpoint.tenant, event.tenant AS of, event.data FROM outbox
               JOIN event ON event.id = outbox.event_id JOIN endpoint ON endpoint.id = outbox.endpoint_id
               ORDER BY event.type, endpoint.tenant""",
        )
        log = await read_rows(connection, "SELECT type, tenant FROM event ORDER BY type, tenant")

    assert [(row["type"], row["tenant"], row["of"]) for row in told] == [
        ("account.paused", "acme", "acme"),
        ("account.paused", "acme", "acme"),
        ("account.paused", "bob", "bob"),
        ("account.resumed", "acme", "acme"),
    ]
    assert told[0]["data"] == {"account_id": owner.account_id, "kind": "credits"}
    assert [(row["type"], row["tenant"]) for row in log] == [
        *(("account.paused", tenant) for tenant in ("*", "acme", "bob")),
        *(("account.resumed", tenant) for tenant in ("*", "acme")),
    ]


async def test_event_is_not_there_when_the_pause_is_rolled_back(engine, owner):
    async with engine.connect() as connection:
        await pauses.pause_by_hand(connection, owner.account_id, reason="no")
        await connection.rollback()
        assert await read_rows(connection, "SELECT * FROM event") == []
        assert await pauses.is_open(connection, owner.account_id)


async def late(engine):
    async with engine.begin() as connection:
        return list(await end_late_jobs(connection, limit=10))


async def age(engine, seconds):
    """Let jobs and the account's pause lie further back, as time would."""
    async with engine.begin() as connection:
        await change_rows(
            connection,
            "UPDATE job SET start_deadline_at = start_deadline_at - make_interval(secs => :s),"
            " deadline_at = deadline_at - make_interval(secs => :s)",
            s=seconds,
        )
        await pass_time(connection, seconds)


async def test_start_deadline_stands_still_in_a_pause_and_the_other_does_not(engine, owner):
    async with engine.begin() as connection:
        [waits] = await enqueue_jobs(connection, start_deadline_s=100)
        [whole] = await enqueue_jobs(connection, deadline_s=100)
    await age(engine, 60)
    async with engine.begin() as connection:
        await pauses.pause_by_hand(connection, owner.account_id, reason="night")
    async with engine.begin() as connection:
        [came_in_it] = await enqueue_jobs(connection, start_deadline_s=100)
    await age(engine, 1000)
    in_the_pause = await late(engine)
    async with engine.begin() as connection:
        await pauses.resume_by_hand(connection, owner.account_id)
    at_its_end = await late(engine)
    await age(engine, 30)
    not_yet = await late(engine)
    async with engine.begin() as connection:
        claimable = [job.job_id for job in await claim_jobs(connection, owner, limit=5)]
        await connection.rollback()
    await age(engine, 20)
    first = await late(engine)
    await age(engine, 60)
    second = await late(engine)

    assert (in_the_pause, at_its_end, not_yet) == ([whole], [], [])
    assert set(claimable) == {waits, came_in_it}
    assert (first, second) == ([waits], [came_in_it])


async def test_job_past_its_start_deadline_is_not_claimed_before_it_is_ended(engine, owner):
    async with engine.begin() as connection:
        await enqueue_jobs(connection, start_deadline_s=10)
    await age(engine, 11)
    async with engine.begin() as connection:
        assert await claim_jobs(connection, owner) == ()


async def test_late_starters_of_a_paused_account_are_not_even_looked_at(engine, owner):
    async with engine.begin() as connection:
        [job_id] = await enqueue_jobs(connection, start_deadline_s=10)
        await change_rows(
            connection,
            """INSERT INTO job (id, kind, tenant, account_id, bucket_id, lane, model, params, priority, seq,
                   max_attempts, results_expected, on_partial, request_hash, run_at, start_deadline_at)
               SELECT gen_random_uuid(), kind, tenant, account_id, bucket_id, lane, model, params, priority, seq,
                   max_attempts, results_expected, on_partial, request_hash, run_at, now() - interval '1 day'
               FROM job, generate_series(1, 20000) WHERE id = :id""",
            id=job_id,
        )
        await change_rows(connection, "ANALYZE job")
        await pauses.pause_by_hand(connection, owner.account_id, reason="night")
    while_paused = await rows_walked(engine)
    async with engine.begin() as connection:
        await pauses.resume_by_hand(connection, owner.account_id)
        # A pause of two days has given them all more time: they are passed by, too.
        await change_rows(connection, "UPDATE account SET paused_s = 2 * 86400")
    with_more_time = await rows_walked(engine)

    # The planner looks at an index' end for itself.
    assert while_paused < 100
    assert with_more_time < 100


async def rows_walked(engine):
    """Count the rows of `job` that a look for late jobs reads in vain."""
    async with engine.begin() as connection:
        assert await end_late_jobs(connection, limit=10) == {}
        [row] = await read_rows(
            connection,
            """SELECT seq_tup_read + COALESCE(idx_tup_fetch, 0) AS rows
               FROM pg_stat_xact_user_tables WHERE relname = 'job'""",
        )
    return row["rows"]


async def test_deadline_keeps_what_has_arrived(engine, owner):
    async with engine.begin() as connection:
        [job_id] = await enqueue_jobs(connection, deadline_s=10)
    await age(engine, 11)
    assert await late(engine) == [job_id]
    assert await late(engine) == []
    async with engine.connect() as connection:
        job = await read_job(connection, job_id)

    assert (job["state"], job["error"]["code"], job["account_id"]) == ("failed", "timeout", owner.account_id)


async def test_pause_of_one_account_is_none_of_another(engine, owner):
    async with engine.begin() as connection:
        other = await register_worker(connection, organisation="bee", base_url=f"{BASE_URL}/other")
        await pauses.pause_by_hand(connection, owner.account_id, reason="x")
        assert await pauses.is_open(connection, other.account_id)


async def test_spending_of_a_day_ahead_counts_for_the_brake_and_for_whoever_looks(engine, owner):
    """Whoever wrote it has seen midnight pass; this transaction's day is the one before."""
    async with engine.begin() as connection:
        await change_rows(connection, "UPDATE account SET spent_usd = 5, spend_day = CURRENT_DATE + 1")
        [shown] = await accounts.read_accounts(connection)
        vitals = await read_vitals(connection)

    assert shown["spent_today_usd"] == 5
    assert vitals.spent_today_usd == 5
    assert vitals.accounts[str(owner.account_id)].spent_today_usd == 5
