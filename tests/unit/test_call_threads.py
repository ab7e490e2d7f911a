"""Threads for calls that may fail or never return: used again, bounded, never waited for too long."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

from runware_jobs.steps.threads import CallThreads, Hung


@pytest.fixture
def gate():
    """A gate that calls wait at; open at the end of the test, so that no thread is left."""
    gate = threading.Event()
    yield gate
    gate.set()


async def test_many_calls_use_a_few_threads_again():
    threads = CallThreads(at_once=3)
    seen = set()
    answers = await asyncio.gather(
        *(threads.call(lambda: seen.add(threading.get_ident())) for _ in range(300))
    )

    assert answers == [None] * 300
    assert 1 <= len(seen) <= 3


async def test_what_a_call_raises_is_its_answer():
    threads = CallThreads()
    error = await threads.call(lambda: 1 / 0)
    leaving = await threads.call(lambda: sys.exit(1))

    assert isinstance(error, ZeroDivisionError)
    assert isinstance(leaving, SystemExit)
    assert await threads.call(lambda: None) is None


async def test_call_that_hangs_gives_its_place_away_and_is_answered_for(gate):
    threads = CallThreads(at_once=1, most=2, limit_s=0.05)
    hung = await threads.call(gate.wait)

    assert hung == Hung(0.05)
    assert threads.has_place
    assert not threads.is_stuck
    assert await threads.call(lambda: None) is None


async def test_there_are_never_more_threads_than_allowed_and_it_goes_on_when_one_returns(gate):
    threads = CallThreads(at_once=2, most=3, limit_s=0.05)
    alive = threading.active_count()
    for _ in range(3):
        assert isinstance(await threads.call(gate.wait), Hung)
    waiting = asyncio.ensure_future(threads.call(lambda: None))
    done, _ = await asyncio.wait({waiting}, timeout=0.1)

    assert threads.is_stuck
    assert not threads.has_place
    assert done == set()
    assert threading.active_count() <= alive + 3

    gate.set()

    assert await waiting is None
    assert not threads.is_stuck


async def test_places_are_as_many_as_before_when_all_that_hung_have_returned(gate):
    threads = CallThreads(at_once=2, most=4, limit_s=0.05)
    hung = await asyncio.gather(*(threads.call(gate.wait) for _ in range(4)))
    gate.set()
    both = threading.Barrier(3, timeout=5)
    at_once = [asyncio.ensure_future(threads.call(both.wait)) for _ in range(2)]
    await asyncio.get_running_loop().run_in_executor(None, both.wait)

    assert all(isinstance(one, Hung) for one in hung)
    assert await asyncio.gather(*at_once) == [None, None]

    # And not one more: a third waits for the first two.
    gate.clear()
    held = [asyncio.ensure_future(threads.call(gate.wait)) for _ in range(2)]
    await asyncio.wait(held, timeout=0.01)

    assert not threads.has_place

    gate.set()
    await asyncio.gather(*held)


async def test_call_that_is_cancelled_before_it_has_a_place_is_never_run(gate):
    threads = CallThreads(at_once=1)
    begun, ran = [], []
    first = asyncio.ensure_future(threads.call(gate.wait, begins=lambda: begun.append("first")))
    second = asyncio.ensure_future(threads.call(lambda: ran.append(1), begins=lambda: begun.append("second")))
    await asyncio.wait({second}, timeout=0.05)
    second.cancel()
    gate.set()
    await first

    assert begun == ["first"]
    assert await threads.call(lambda: None) is None
    assert ran == []
