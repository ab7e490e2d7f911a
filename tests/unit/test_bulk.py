"""Many jobs at once: written in the order of their making, a few calls under way, nothing half told."""

from __future__ import annotations

import asyncio

import pytest

from runware_jobs.steps.bulk import write_all


class Writer:
    """Takes chunks; those after the `open_calls`-th wait for `release`."""

    def __init__(self) -> None:
        self.chunks: list[list[int]] = []
        self.under_way = 0
        self.most = 0

    async def write(self, chunk: list[int]) -> None:
        self.chunks.append(chunk)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1


async def test_rows_arrive_once_and_in_order():
    writer = Writer()
    await write_all(range(3500), writer.write)

    assert list(range(3500)) == [row for chunk in writer.chunks for row in chunk]
    assert [len(chunk) for chunk in writer.chunks] == [1000, 1000, 1000, 500]


async def test_no_rows_are_no_call():
    writer = Writer()
    await write_all([], writer.write)

    assert writer.chunks == []


async def test_thousands_before_a_wrong_row_are_written_and_the_error_is_the_callers():
    writer = Writer()

    def rows():
        yield from range(1003)
        raise ValueError("the row after 1002 is wrong")

    with pytest.raises(ValueError, match="1002"):
        await write_all(rows(), writer.write)

    assert list(range(1000)) == [row for chunk in writer.chunks for row in chunk]


async def test_two_calls_are_under_way_and_never_more():
    gate = asyncio.Semaphore(0)
    under_way = 0
    most = 0

    async def write(_: list[int]) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if under_way == 2:
            gate.release()
            gate.release()
        await gate.acquire()
        gate.release()
        under_way -= 1

    await write_all(range(6000), write)

    assert most == 2


async def test_what_a_write_raises_stops_the_others_and_is_the_callers():
    canceled = asyncio.Event()

    async def write(chunk: list[int]) -> None:
        if chunk[0] == 0:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                canceled.set()
                raise
        raise RuntimeError("the server is gone")

    with pytest.raises(RuntimeError, match="gone"):
        await write_all(range(5000), write)

    assert canceled.is_set()
