"""Work that ends when an event is set."""

from __future__ import annotations

import asyncio

import pytest

from runware_jobs.client import stopping
from runware_jobs.client.stopping import until_set


class StoppedError(Exception):
    pass


class Work:
    """Goes on for ever; tells that it has begun, and that it was cancelled."""

    def __init__(self):
        self.has_begun = asyncio.Event()
        self.was_cancelled = False

    async def __call__(self):
        self.has_begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise


@pytest.fixture(autouse=True)
def _nobody_watches_afterwards():
    yield
    assert not stopping._WATCHERS


async def test_event_stops_the_work_and_its_reason_is_raised():
    event, work = asyncio.Event(), Work()
    stopped = asyncio.create_task(until_set(work(), {event: StoppedError}))
    await work.has_begun.wait()
    event.set()

    with pytest.raises(StoppedError):
        await stopped
    assert work.was_cancelled
    assert stopped.cancelling() == 0


async def test_event_that_is_set_already_begins_nothing():
    event, work = asyncio.Event(), Work()
    event.set()

    with pytest.raises(StoppedError):
        await until_set(work(), {event: StoppedError})
    assert not work.has_begun.is_set()


async def test_value_of_work_that_ends_first_is_given():
    assert await until_set(asyncio.sleep(0, "done"), {asyncio.Event(): StoppedError}) == "done"


async def test_work_without_an_event_is_awaited():
    assert await until_set(asyncio.sleep(0, "done"), {}) == "done"


async def test_cancelling_from_outside_stays_a_cancellation():
    event, work = asyncio.Event(), Work()
    task = asyncio.create_task(until_set(work(), {event: StoppedError}))
    await work.has_begun.wait()
    event.set()
    await asyncio.sleep(0)  # the watcher has seen it; now both want the end
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_thousand_works_need_one_watcher():
    event, works = asyncio.Event(), [Work() for _ in range(1_000)]
    stopped = [asyncio.create_task(until_set(work(), {event: StoppedError})) for work in works]
    await asyncio.gather(*(work.has_begun.wait() for work in works))
    watchers = [task for task in asyncio.all_tasks() if task.get_name() == "runware-stop"]
    event.set()
    outcomes = await asyncio.gather(*stopped, return_exceptions=True)

    assert len(watchers) == 1
    assert {type(outcome) for outcome in outcomes} == {StoppedError}


async def test_inner_work_under_the_same_event_ends_once():
    event, work = asyncio.Event(), Work()
    stopped = asyncio.create_task(until_set(until_set(work(), {event: KeyError}), {event: StoppedError}))
    await work.has_begun.wait()
    event.set()

    with pytest.raises((KeyError, StoppedError)):
        await stopped
    assert stopped.cancelling() == 0


async def test_event_can_be_cleared_and_used_again():
    event, first, second = asyncio.Event(), Work(), Work()
    for work in (first, second):
        stopped = asyncio.create_task(until_set(work(), {event: StoppedError}))
        await work.has_begun.wait()
        event.set()
        with pytest.raises(StoppedError):
            await stopped
        event.clear()

    assert first.was_cancelled
    assert second.was_cancelled
