"""Hints: after the commit, few, and harmless when they cannot be sent."""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import asynccontextmanager

import pytest
import structlog.testing

from runware_jobs.steps.cancel import cancel
from runware_jobs.steps.telling import Teller
from runware_jobs.store.batches import create_batch
from runware_jobs.store.database import open_engine
from runware_jobs.store.listening import open_listener
from runware_jobs.store.moves import announce
from runware_jobs.store.news import MOST_NAMED, Hint, hear_commits, note, read_hint, send_echo, tell
from tests.support.polling import PATIENCE_S, poll_until_async
from tests.support.queued import enqueue_jobs
from tests.support.relayed import behind_a_relay

MARK = Hint(echo="here")
"""Sent when everything else must have been heard: hints arrive in the order of their commits."""


@pytest.fixture
async def telling(clean_database):
    """An engine whose commits are told."""
    engine = open_engine(clean_database, pool_size=3)
    teller = Teller(engine)
    yield engine, teller
    await teller.aclose()
    await engine.dispose()


@asynccontextmanager
async def ears(engine):
    """Hear all hints from now on."""
    async with open_listener(engine) as listener:
        yield listener.hints()


async def until_marked(engine, hints):
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await send_echo(connection, MARK.echo)
    heard = []
    async with asyncio.timeout(PATIENCE_S):
        while (hint := await anext(hints)) != MARK:
            heard.append(hint)
    return heard


async def enqueued(engine, count=1, **options):
    async with engine.begin() as connection:
        return await enqueue_jobs(connection, count, **options)


async def cancel_all(engine, job_ids):
    async with engine.begin() as connection:
        for job_id in job_ids:
            await cancel(connection, job_id, tenant=None)


async def test_a_move_is_told_after_its_commit_with_its_job_and_batch(telling, engine):
    sender, teller = telling
    batch_id = uuid.uuid4()
    async with engine.begin() as connection:
        await create_batch(connection, batch_id, tenant="default", name="", budget_usd=None)
    [job_id] = await enqueued(engine, batch_id=batch_id)
    async with ears(engine) as hints:
        async with sender.begin() as connection:
            await cancel(connection, job_id, tenant=None)
            before = await until_marked(engine, hints)
        await teller.aclose()

        assert before == []
        assert await until_marked(engine, hints) == [
            Hint(jobs=frozenset([job_id]), batches=frozenset([batch_id]))
        ]


async def test_enqueueing_and_reading_tell_nothing(telling, engine):
    sender, teller = telling
    async with ears(engine) as hints:
        await enqueued(sender, 3)
        async with sender.connect() as connection:
            await announce(connection, [])
        await teller.aclose()

        assert await until_marked(engine, hints) == []


async def test_many_commits_at_once_are_few_hints_and_name_every_job(telling, engine):
    sender, teller = telling
    job_ids = await enqueued(engine, MOST_NAMED)
    async with ears(engine) as hints:
        started = time.monotonic()
        for job_id in job_ids:
            await cancel_all(sender, [job_id])
        await teller.aclose()
        took_s = time.monotonic() - started
        heard = await until_marked(engine, hints)

    assert frozenset().union(*(hint.jobs for hint in heard)) == frozenset(job_ids)
    # The first at once, then one in 50 ms, and the last on leaving.
    assert len(heard) <= took_s / 0.05 + 2


async def test_more_jobs_than_a_hint_names_say_to_look_at_all(telling, engine):
    sender, teller = telling
    job_ids = await enqueued(engine, MOST_NAMED + 1)
    async with ears(engine) as hints:
        await cancel_all(sender, job_ids)
        await teller.aclose()

        assert await until_marked(engine, hints) == [Hint(is_many=True)]


async def test_the_longest_hint_fits_into_a_notification(engine):
    job_ids = []
    for _ in range(MOST_NAMED):
        batch_id = uuid.uuid4()
        async with engine.begin() as connection:
            await create_batch(connection, batch_id, tenant="default", name="", budget_usd=None)
            job_ids += await enqueue_jobs(connection, batch_id=batch_id)
    async with ears(engine) as hints:
        async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            await tell(connection, job_ids)
        [hint] = await until_marked(engine, hints)

    assert (hint.jobs, len(hint.batches)) == (frozenset(job_ids), MOST_NAMED)


async def test_a_hint_that_cannot_be_sent_is_sent_when_the_database_is_back(clean_database, engine):
    job_id = uuid.uuid4()
    async with behind_a_relay(clean_database) as (sender, relay), ears(engine) as hints:
        teller = Teller(sender)
        await asyncio.to_thread(relay.close)
        with structlog.testing.capture_logs() as logs:
            teller._hear({job_id})

            async def complained():
                return [line["event"] for line in logs]

            assert await poll_until_async(complained, what="a line in the log") == ["hint_not_sent"]
            await asyncio.to_thread(relay.open)
            async with asyncio.timeout(PATIENCE_S):
                assert await anext(hints) == Hint(jobs=frozenset([job_id]))
        await teller.aclose()


async def test_a_teller_without_a_database_ends_all_the_same():
    sender = open_engine("postgresql://nobody@127.0.0.1:9/none", pool_size=1)
    teller = Teller(sender)
    teller._hear({uuid.uuid4()})

    async with asyncio.timeout(PATIENCE_S):
        await teller.aclose()


async def test_where_nobody_wants_to_know_nothing_is_kept(engine):
    async with engine.connect() as connection:
        note(connection, [uuid.uuid4()])

        assert not any("noted" in str(name) for name in connection.info)


async def test_what_is_noted_is_handed_on_once_by_the_transaction_that_noted_it(clean_database):
    sender = open_engine(clean_database, pool_size=1)
    heard = []
    hear_commits(sender, heard.append)
    job_id = uuid.uuid4()
    async with sender.connect() as connection:
        note(connection, [job_id, str(job_id)])
        assert heard == []
    async with sender.connect():
        pass
    await sender.dispose()

    assert heard == [{job_id}]


@pytest.mark.parametrize("payload", ["", "{", "[]", '{"jobs": ["x"]}', '{"jobs": 7}', "null"])
def test_a_notification_that_cannot_be_read_says_to_look_at_all(payload):
    assert read_hint(payload) == Hint(is_many=True)


def test_a_notification_of_a_newer_program_is_read_as_far_as_it_is_known():
    job_id = uuid.uuid4()

    assert read_hint(f'{{"jobs": ["{job_id}"], "more": 1}}') == Hint(jobs=frozenset([job_id]))
