"""What is due for all is asked for by whoever has a seat; who stands by asks for nothing but a seat."""

from __future__ import annotations

from contextlib import contextmanager

from sqlalchemy import event

from runware_jobs.store import processes
from tests.support.polling import poll_until_async
from tests.support.queued import enqueue_jobs
from tests.support.rows import change_rows, read_job

DEADLINES = "deadline_at <= now()"
BATCHES = "sealed_at IS NOT NULL AND finished_at IS NULL"
PROBES = "AND probe_at <= clock_timestamp()"
LAPSE = "epoch = epoch + 1"


@contextmanager
def statements(engine):
    """List what is asked of the database meanwhile."""
    seen = []

    def note(_connection, _cursor, statement, *_rest):
        seen.append(statement)

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", note)


def times(seen, what):
    return sum(what in statement for statement in seen)


async def test_duties_of_all_are_done_from_a_seat_and_go_on_when_its_holder_dies(
    engine, emulator, workers, running
):
    async with workers(clocks=1) as holder, workers(clocks=1) as standing:
        async with engine.begin() as connection:
            assert await processes.heartbeat(connection, holder.owner, clocks=1)
            [late] = await enqueue_jobs(connection, deadline_s=60)
            await change_rows(connection, "UPDATE job SET deadline_at = now()")
        with statements(engine) as seen:
            async with running(standing):

                async def has_stood_by():
                    return times(seen, LAPSE) >= 3

                await poll_until_async(has_stood_by, what="three rounds of who stands by")
                asked = [times(seen, what) for what in (DEADLINES, BATCHES, PROBES)]
                async with engine.begin() as connection:
                    before = await read_job(connection, late)
                    await change_rows(
                        connection,
                        "UPDATE process SET heartbeat_at = now() - interval '1 hour' WHERE id = :id",
                        id=holder.owner.id,
                    )

                async def has_ended():
                    async with engine.connect() as connection:
                        return (await read_job(connection, late))["finished_at"]

                await poll_until_async(has_ended, what="the end of a late job")
                then = [times(seen, what) for what in (DEADLINES, BATCHES)]

    assert (asked, before["state"]) == ([0, 0, 0], "queued")
    assert all(then)
