"""A resend that fails before anything has left was none: its mark goes again."""

from __future__ import annotations

from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from runware_jobs.steps.submit import submit
from tests.steps.conftest import follow
from tests.steps.test_settle import RESET, arrivals
from tests.steps.test_submit_and_poll import added, job_of


async def test_resend_that_could_not_be_made_is_made_later(engine, emulator, workers):
    """The database drops between the mark and the send: nothing has left, and the mark goes again."""
    [job_id] = await added(engine)
    emulator.inject(RESET)
    dropped = []

    def drop_once(_connection, _cursor, statement, *_rest):
        if "attempt.run, results_expected, params" in statement and not dropped:
            dropped.append(statement)
            raise OperationalError(statement, {}, Exception("the connection is gone"))

    async with workers(lost_after_s=0) as context:
        watches = (await submit(context)).watches
        event.listen(engine.sync_engine, "before_cursor_execute", drop_once)
        try:
            left = await follow(context, watches)
        finally:
            event.remove(engine.sync_engine, "before_cursor_execute", drop_once)
    job = await job_of(engine, job_id)

    assert (len(dropped), left) == (1, [])
    assert (job["state"], job["billing"]) == ("succeeded", "billed")
    assert arrivals(emulator) == [(2, 1)] or arrivals(emulator) == [(1, 1)]
