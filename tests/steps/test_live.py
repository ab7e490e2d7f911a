"""Waiting: by hint where hints arrive, by looking where they do not; each event once, in order."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, asynccontextmanager
from itertools import cycle, pairwise

import pytest
import structlog.testing
from sqlalchemy import event, text

from runware_jobs.core.events import EventType
from runware_jobs.steps.cancel import cancel, retry
from runware_jobs.steps.hearing import Hearing
from runware_jobs.steps.live import Live
from runware_jobs.steps.telling import Teller
from runware_jobs.store.batches import create_batch
from runware_jobs.store.database import open_engine
from runware_jobs.store.moves import announce
from runware_jobs.store.news import note
from tests.support.polling import PATIENCE_S, poll_until_async
from tests.support.queued import enqueue_jobs
from tests.support.relayed import WithoutNotifications, behind_a_relay
from tests.support.rows import change_rows, read_rows

NEVER_S = 3600.0
"""Between two looks that no hint asks for: whatever is seen earlier was seen by a hint."""

LISTENING = "FROM pg_stat_activity WHERE application_name = 'runware-jobs-listener'"


@pytest.fixture
async def waiting_engine(clean_database):
    opened = open_engine(clean_database, pool_size=5)
    yield opened
    await opened.dispose()


@asynccontextmanager
async def opened(engine, **options):
    live = Live(engine, **options)
    try:
        yield live
    finally:
        await live.aclose()


@pytest.fixture
async def mover(clean_database):
    """Moves jobs and tells it, as a worker does."""
    engine = open_engine(clean_database, pool_size=3)
    teller = Teller(engine)
    yield Mover(engine)
    await teller.aclose()
    await engine.dispose()


@pytest.fixture
def silent_mover(engine):
    """Moves jobs and tells nobody: its process dies after each commit."""
    return Mover(engine)


_PROGRESS = "UPDATE job SET progress = :percent WHERE id = :id"


class Mover:
    def __init__(self, engine):
        self._engine = engine

    async def enqueue(self, count=1, **options):
        async with self._engine.begin() as connection:
            return await enqueue_jobs(connection, count, **options)

    async def progress(self, job_id, percent):
        async with self._engine.begin() as connection:
            await change_rows(connection, _PROGRESS, percent=percent, id=job_id)
            note(connection, [job_id])

    async def cancel(self, *job_ids, progress=None):
        async with self._engine.begin() as connection:
            for job_id in job_ids:
                if progress is not None:
                    await change_rows(connection, _PROGRESS, percent=progress, id=job_id)
                await cancel(connection, job_id, tenant=None)

    async def retry(self, job_id):
        async with self._engine.begin() as connection:
            await retry(connection, job_id, tenant=None, accept_double_billing=False)

    async def tell(self, job_id, *types):
        """Write events that change nothing else."""
        async with self._engine.begin() as connection:
            await change_rows(
                connection, "UPDATE job SET seq = seq + :count WHERE id = :id", count=len(types), id=job_id
            )
            await announce(
                connection,
                [
                    {"job_id": str(job_id), "type": type_, "data": {}, "back": len(types) - place}
                    for place, type_ in enumerate(types, start=1)
                ],
            )


async def hears(live):
    async def look():
        return live.is_hearing

    await poll_until_async(look, what="a listener that hears itself")


def within(work):
    return asyncio.wait_for(work, PATIENCE_S)


async def a_look(live, job_id):
    async with aclosing(live.marks(job_id)) as marks:
        await within(anext(marks))


async def heard_of(live, job_id, *, after=0):
    return [(one["seq"], one["type"]) async for one in live.follow(job_id, after=after)]


async def test_who_waits_is_woken_by_a_hint(waiting_engine, mover):
    async with opened(waiting_engine, look_every_s=NEVER_S) as live:
        [first, second] = await mover.enqueue(2)
        first_ended = asyncio.create_task(live.job_ended(first))
        second_ended = asyncio.create_task(live.job_ended(second))
        await hears(live)
        await mover.cancel(first)
        assert await within(first_ended)  # by the look that the beginning of hearing asks for, perhaps

        await mover.cancel(second)

        assert await within(second_ended)


async def test_who_waits_for_a_batch_is_woken_by_a_hint(waiting_engine, mover, engine):
    async with engine.begin() as connection:
        [batch_id] = [row["id"] for row in await read_rows(connection, "SELECT gen_random_uuid() AS id")]
        await create_batch(connection, batch_id, tenant="default", name="", budget_usd=None)
    job_ids = await mover.enqueue(3, batch_id=batch_id)
    async with opened(waiting_engine, look_every_s=NEVER_S) as live:
        ended = asyncio.create_task(live.batch_ended(batch_id))
        await hears(live)
        for job_id in job_ids[:2]:
            await mover.cancel(job_id)
            assert await within(live.job_ended(job_id))
        assert not ended.done()

        await mover.cancel(job_ids[2])

        await within(ended)


async def test_without_any_hint_a_look_now_and_then_finds_it(waiting_engine, silent_mover):
    async with opened(waiting_engine, look_every_s=0.3) as live:
        [job_id] = await silent_mover.enqueue()
        ended = asyncio.create_task(live.job_ended(job_id))
        await hears(live)

        await silent_mover.cancel(job_id)

        assert await within(ended)


async def test_a_lost_connection_is_opened_again_and_nothing_is_missed(
    waiting_engine, silent_mover, mover, engine
):
    async with opened(waiting_engine, look_every_s=NEVER_S) as live:
        job_ids = await mover.enqueue(3)
        ends = [asyncio.create_task(live.job_ended(job_id)) for job_id in job_ids]
        await hears(live)

        async with engine.begin() as connection:
            await connection.execute(text(f"SELECT pg_terminate_backend(pid, 10000) {LISTENING}"))
        await silent_mover.cancel(job_ids[0])

        assert await within(ends[0])
        await hears(live)
        await mover.cancel(job_ids[1])
        assert await within(ends[1])
        await mover.cancel(job_ids[2])
        assert await within(ends[2])


async def test_behind_a_pooler_in_transaction_mode_jobs_are_polled_and_the_log_says_so_once(
    clean_database, mover
):
    with structlog.testing.capture_logs() as logs:
        async with (
            behind_a_relay(clean_database, answers=WithoutNotifications) as (engine, _),
            opened(engine, look_every_s=NEVER_S) as live,
        ):
            first, second = await mover.enqueue(2)
            ends = [asyncio.create_task(live.job_ended(job_id)) for job_id in (first, second)]
            await mover.cancel(first)
            assert await within(ends[0])

            async def said():
                return [one["event"] for one in logs if one["event"].startswith("hints_")]

            assert await poll_until_async(said, what="a line in the log") == ["hints_not_heard"]
            assert not live.is_hearing
            await mover.cancel(second)
            assert await within(ends[1])


async def test_a_database_that_is_away_for_a_while_is_waited_for(clean_database, silent_mover):
    async with (
        behind_a_relay(clean_database) as (engine, relay),
        opened(engine, look_every_s=NEVER_S) as live,
    ):
        [job_id] = await silent_mover.enqueue()
        ended = asyncio.create_task(live.job_ended(job_id))
        await hears(live)
        await asyncio.to_thread(relay.close)
        await silent_mover.cancel(job_id)
        assert not ended.done()
        await asyncio.to_thread(relay.open)

        assert await within(ended)


async def test_who_hears_says_when_that_begins_and_when_it_ceases(waiting_engine, engine):
    """Each time is one to look: what was said while nobody heard is lost."""
    stands = asyncio.Queue()
    hearing = Hearing(
        waiting_engine, heard=lambda _hint: None, changed=lambda: stands.put_nowait(hearing.is_hearing)
    )
    running = asyncio.create_task(hearing.run())
    told = [await within(stands.get())]
    async with engine.begin() as connection:
        await connection.execute(text(f"SELECT pg_terminate_backend(pid, 10000) {LISTENING}"))
    told += [await within(stands.get()), await within(stands.get())]
    running.cancel()
    await asyncio.wait({running})

    assert told == [True, False, True]


async def test_when_nobody_waits_any_more_the_connection_is_closed(waiting_engine, mover, engine):
    async def listeners():
        async with engine.connect() as connection:
            return (await connection.execute(text(f"SELECT count(*) {LISTENING}"))).scalar_one()

    async def nobody_listens():
        return not await listeners()

    async with opened(waiting_engine, linger_s=0.05) as live:
        for _ in range(2):  # and opened again for the next
            [job_id] = await mover.enqueue()
            ended = asyncio.create_task(live.job_ended(job_id))
            await hears(live)
            assert await listeners() == 1

            await mover.cancel(job_id)
            await within(ended)

            await poll_until_async(nobody_listens, what="a closed connection")
            assert live.watched == 0


async def test_who_stops_waiting_leaves_nothing_behind(waiting_engine, mover):
    async with opened(waiting_engine) as live:
        [job_id] = await mover.enqueue()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await live.job_ended(job_id)
        async with aclosing(live.follow(job_id)) as events:
            async for _ in events:
                break

        assert live.watched == 0


async def test_a_follower_hears_each_event_once_and_in_order_over_runs(waiting_engine, mover, silent_mover):
    async with opened(waiting_engine, look_every_s=0.3) as live:
        [job_id] = await mover.enqueue()
        told = []
        async with aclosing(live.follow(job_id)) as events:
            told.append(await within(anext(events)))
            await mover.tell(job_id, EventType.JOB_SUBMITTED, EventType.JOB_RESULT)
            told += [await within(anext(events)) for _ in range(2)]
            await silent_mover.tell(job_id, EventType.JOB_RETRYING)  # its hint is lost
            await silent_mover.cancel(job_id)
            await silent_mover.retry(job_id)  # and the job runs again before anybody has looked
            await mover.tell(job_id, EventType.JOB_SUBMITTED)
            told += [await within(anext(events)) for _ in range(4)]
            await mover.cancel(job_id)
            told += [one async for one in events]

    assert [(one["seq"], one["type"].removeprefix("job.")) for one in told] == [
        (1, "queued"),
        (2, "submitted"),
        (3, "result"),
        (4, "retrying"),
        (5, "canceled"),
        (6, "retrying"),
        (7, "submitted"),
        (8, "canceled"),
    ]


@pytest.mark.parametrize("after", [0, 1, 40, 99])
async def test_a_follower_of_a_long_story_hears_what_comes_after_its_number(waiting_engine, mover, after):
    async with opened(waiting_engine) as live:
        [job_id] = await mover.enqueue()
        await mover.tell(job_id, *[EventType.JOB_RESULT] * 98)
        await mover.cancel(job_id)

        told = await within(heard_of(live, job_id, after=after))

    assert [seq for seq, _ in told] == list(range(after + 1, 101))


async def test_who_asks_for_numbers_to_come_keeps_nothing_from_the_others(waiting_engine, mover):
    async with opened(waiting_engine) as live:
        [job_id] = await mover.enqueue()
        ahead = asyncio.create_task(heard_of(live, job_id, after=90))
        await a_look(live, job_id)  # at what comes after 90
        beside = live.follow(job_id)
        assert (await within(anext(beside)))["seq"] == 1
        second = asyncio.create_task(anext(beside))
        for _ in range(3):  # it waits by now
            await a_look(live, job_id)
        await mover.tell(job_id, EventType.JOB_SUBMITTED)
        assert (await within(second))["seq"] == 2
        await mover.cancel(job_id)

        assert [one["seq"] async for one in beside] == [3]
        assert await within(ahead) == []


async def test_many_followers_share_one_look(waiting_engine, mover):
    asked = []
    event.listen(
        waiting_engine.sync_engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, *_: asked.append(statement),
    )
    async with opened(waiting_engine, look_every_s=NEVER_S) as live:
        job_ids = await mover.enqueue(20)
        following = [asyncio.create_task(heard_of(live, job_id)) for job_id in job_ids for _ in range(5)]
        listening = live.follow(job_ids[-1])
        await within(anext(listening))
        await hears(live)
        before = len(asked)

        await mover.cancel(*job_ids)
        told = await within(asyncio.gather(*following))
        await listening.aclose()

    assert told == [[(1, "job.queued"), (2, "job.canceled")]] * 100
    # One transaction, one hint: a look at the jobs and one at their events; what the beginning asked for beside it.
    assert len(asked) - before <= 4


async def test_progress_is_the_newest_now_and_then(waiting_engine, mover):
    async with opened(waiting_engine) as live:
        [job_id] = await mover.enqueue()
        told = []
        async with aclosing(live.follow(job_id, after=1, progress=True)) as events:

            async def hear():
                while len(told) < 3:
                    told.append((await anext(events), time.monotonic()))

            hearing = asyncio.create_task(hear())
            async with asyncio.timeout(PATIENCE_S):
                for percent in cycle(range(1, 100)):
                    await mover.progress(job_id, percent)
                    if hearing.done():
                        break

    assert {(view["type"], view["job_id"]) for view, _ in told} == {("job.progress", str(job_id))}
    assert min(after - before for (_, before), (_, after) in pairwise(told)) > 0.4


async def test_there_is_no_progress_after_the_end(waiting_engine, mover):
    async with opened(waiting_engine) as live:
        [job_id] = await mover.enqueue()
        async with aclosing(live.follow(job_id, after=1, progress=True)) as events:
            await mover.progress(job_id, 30)
            first = await within(anext(events))
            await mover.cancel(job_id, progress=90)
            rest = [one["type"] async for one in events]

    assert first["data"] == {"progress": 30}
    assert rest == ["job.canceled"]


async def test_a_job_that_is_gone_ends_the_wait(waiting_engine, silent_mover, engine):
    async with opened(waiting_engine, look_every_s=0.2) as live:
        [job_id] = await silent_mover.enqueue()
        ended = asyncio.create_task(live.job_ended(job_id))
        await hears(live)
        async with engine.begin() as connection:
            await change_rows(connection, "DELETE FROM job WHERE id = :id", id=job_id)

        assert await within(ended) is False


async def test_closing_ends_who_waits_and_the_next_begins_anew(waiting_engine, mover):
    async with opened(waiting_engine) as live:
        [job_id] = await mover.enqueue()
        ended = asyncio.create_task(live.job_ended(job_id))
        await hears(live)
        await live.aclose()
        assert await within(ended) is False

        again = asyncio.create_task(live.job_ended(job_id))
        await hears(live)
        await mover.cancel(job_id)

        assert await within(again)
