"""What it costs to hear of a job at once: a thousand live streams, `wait()`, and hints beside moves.

    make bench WHAT=live ARGS="--listeners 1000 --jobs 200"

Ratios count, not figures: the machine is shared, and the listeners run on it as well.
`wait()` is measured by hint and by asking again and again; moves with hints of a process
(at most twenty a second), with none, and with a NOTIFY in each transaction.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from runware_jobs.assembly import environment_of, find_services
from runware_jobs.core.identity import new_job_id
from runware_jobs.core.request import Options, make_job
from runware_jobs.core.states import FINAL
from runware_jobs.embedded import open_engines
from runware_jobs.settings import Settings
from runware_jobs.steps.cancel import cancel
from runware_jobs.steps.live import Live
from runware_jobs.steps.telling import Teller
from runware_jobs.store.database import migrate, open_engine
from runware_jobs.store.enqueue import enqueue
from runware_jobs.store.jobs import read_states
from runware_jobs.store.plans import run_async

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncEngine

BASE_URL: Final = "http://emulator.test/v1"
PARAMS: Final = {
    "taskType": "imageInference",
    "model": "runware:400@1",
    "positivePrompt": "a lighthouse at dusk",
    "width": 1024,
    "height": 1024,
}
_MOVES_AT_ONCE: Final = 3
_OPEN_AT_ONCE: Final = 50
_READY_WITHIN_S: Final = 60.0


def main() -> None:
    """Measure all three and print them."""
    parser = argparse.ArgumentParser(description="Measure live streams, wait() and hints.")
    parser.add_argument("--listeners", type=int, default=1_000)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--waits", type=int, default=60)
    parser.add_argument("--moves", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="runware-jobs-bench-"))
    try:
        with open_engines(home, realm="emulator", idle_s=0) as engines:
            migrate(engines.database_url)
            settings = Settings(database_url=engines.database_url, broker_url=engines.broker_url)
            found = asyncio.run(measure(settings, options))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if options.json:
        print(json.dumps(found))
    else:
        show(found)


async def measure(settings: Settings, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Measure one after the other, so that none disturbs another."""
    return {
        f"{options.listeners:,} streams on {options.jobs} jobs": await streams(
            settings, options.listeners, options.jobs
        ),
        "wait()": await waits(settings, options.waits),
        "moves": await moves(settings, options.moves, options.rounds),
    }


@dataclass
class Mover:
    """Cancels jobs, each in a transaction of its own, as a worker would move them."""

    engine: AsyncEngine

    async def enqueue(self, count: int) -> list[UUID]:
        """Put jobs into the queue."""
        jobs = [make_job(new_job_id(), "run", PARAMS, Options()) for _ in range(count)]
        async with self.engine.begin() as connection:
            added = await run_async(connection, enqueue(jobs, base_url=BASE_URL, fallback_url=BASE_URL))
        return [one.job_id for one in added]

    async def end(self, job_id: UUID, *, notifies: bool = False) -> float:
        """End a job; give the moment when that was committed."""
        async with self.engine.begin() as connection:
            await cancel(connection, job_id, tenant=None)
            if notifies:
                await connection.execute(text("SELECT pg_notify('bench', :id)"), {"id": str(job_id)})
        return time.perf_counter()


# Streams


async def streams(settings: Settings, listeners: int, count: int) -> dict[str, float]:
    """Open streams on one API process, move each job once, and see what it cost and how late they heard."""
    services = find_services(settings)
    engine = open_engine(services.database_url, pool_size=3)
    teller, mover = Teller(engine), Mover(engine)
    job_ids = await mover.enqueue(count)
    with tempfile.TemporaryFile("w+") as log:
        api = subprocess.Popen(  # noqa: ASYNC220  our own program, once
            [sys.executable, "-m", "runware_jobs", "api", "--port", "0"],
            env=os.environ | dict(environment_of(settings, services)),
            stderr=log,
        )
        try:
            url = await _ready(log)
            idle_mb, idle_cpu_s = _memory_mb(api.pid), _cpu_s(api.pid)
            heard: list[tuple[UUID, float]] = []
            places = asyncio.Semaphore(_OPEN_AT_ONCE)
            opened = asyncio.Semaphore(0)
            following = [
                asyncio.create_task(_follow(url, job_ids[number % count], heard, places, opened))
                for number in range(listeners)
            ]
            for _ in following:
                await opened.acquire()
            open_mb, open_cpu_s = _memory_mb(api.pid), _cpu_s(api.pid)
            committed_at = {job_id: await mover.end(job_id) for job_id in job_ids}
            await asyncio.gather(*following)
            moved_cpu_s = _cpu_s(api.pid) - open_cpu_s
        finally:
            api.terminate()
            api.wait(20)
    await teller.aclose()
    await engine.dispose()
    delays_ms = [(at - committed_at[job_id]) * 1000 for job_id, at in heard]
    return {
        "heard": len(heard),
        "commit to received, median ms": statistics.median(delays_ms),
        "commit to received, p95 ms": _p95(delays_ms),
        "API: MB before": idle_mb,
        "API: MB with all streams": open_mb,
        "API: CPU s to open them": open_cpu_s - idle_cpu_s,
        "API: CPU s to tell all": moved_cpu_s,
    }


async def _follow(
    url: str,
    job_id: UUID,
    heard: list[tuple[UUID, float]],
    places: asyncio.Semaphore,
    opened: asyncio.Semaphore,
) -> None:
    address = urlsplit(url)
    async with places:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(
            f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: {address.netloc}\r\n"
            "Accept: text/event-stream\r\nConnection: close\r\n\r\n".encode()
        )
        await reader.readuntil(b"job.queued")
    opened.release()
    await reader.readuntil(b"job.canceled")
    heard.append((job_id, time.perf_counter()))
    await reader.read()
    writer.close()


async def _ready(log: Any) -> str:
    give_up_at = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < give_up_at:
        log.seek(0)
        for line in log:
            if '"api_listening"' in line:
                url: str = json.loads(line)["url"]
                return url
        await asyncio.sleep(0.1)
    raise TimeoutError("the API did not start")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


# Waits


async def waits(settings: Settings, count: int) -> dict[str, float]:
    """Wait for jobs that end at some moment, by hint and by asking, in turns."""
    database_url = find_services(settings).database_url
    engine, own = open_engine(database_url, pool_size=3), open_engine(database_url, pool_size=3)
    teller, mover, live = Teller(engine), Mover(engine), Live(own)
    delays_ms: dict[str, list[float]] = {"by hint": [], "by asking": []}
    ways: dict[str, Callable[[UUID], Awaitable[object]]] = {
        "by hint": live.job_ended,
        "by asking": lambda job_id: _ask(own, job_id),
    }
    [warm] = await mover.enqueue(1)
    warming = asyncio.create_task(live.job_ended(warm))
    while not live.is_hearing:  # noqa: ASYNC110  nobody but us wants to know
        await asyncio.sleep(0.01)
    chance = random.Random(7)
    for job_id in await mover.enqueue(count):
        for name, way in ways.items():
            [again] = [job_id] if name == "by hint" else await mover.enqueue(1)
            waiting = asyncio.ensure_future(way(again))
            await asyncio.sleep(chance.uniform(0.5, 1.5))
            committed_at = await mover.end(again)
            await waiting
            delays_ms[name].append((time.perf_counter() - committed_at) * 1000)
    await mover.end(warm)
    await warming
    await live.aclose()
    await teller.aclose()
    await own.dispose()
    await engine.dispose()
    return {
        f"{name}, {label} ms": figure
        for name, found in delays_ms.items()
        for label, figure in (("median", statistics.median(found)), ("p95", _p95(found)))
    }


async def _ask(engine: AsyncEngine, job_id: UUID) -> None:
    """Ask again and again, ever later up to half a second: what one does without hints."""
    pause_s = 0.05
    while True:
        async with engine.connect() as connection:
            states = await read_states(connection, [job_id])
        if states[job_id] in FINAL:
            return
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.5)


# Moves


async def moves(settings: Settings, count: int, rounds: int) -> dict[str, float]:
    """Commit moves as fast as three connections can, in three ways by turns; the best of each."""
    database_url = find_services(settings).database_url
    best = dict.fromkeys(("without hints, per s", "with hints, per s", "NOTIFY in each, per s"), 0.0)
    for _ in range(rounds):
        for name in best:
            engine = open_engine(database_url, pool_size=_MOVES_AT_ONCE + 1)
            teller = Teller(engine) if name.startswith("with hints") else None
            mover = Mover(engine)
            waiting = iter(await mover.enqueue(count))
            started = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for _ in range(_MOVES_AT_ONCE):
                    group.create_task(_end_all(mover, waiting, notifies=name.startswith("NOTIFY")))
            best[name] = max(best[name], count / (time.perf_counter() - started))
            if teller is not None:
                await teller.aclose()
            await engine.dispose()
    return best


async def _end_all(mover: Mover, job_ids: Any, *, notifies: bool) -> None:
    for job_id in job_ids:
        await mover.end(job_id, notifies=notifies)


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def show(found: dict[str, dict[str, float]]) -> None:
    """Print a table for each."""
    for title, figures in found.items():
        table = Table("measure", "figure", title=title)
        for name, figure in figures.items():
            table.add_row(name, f"{figure:,.0f}" if figure >= 100 else f"{figure:.2f}")
        Console(width=None if sys.stdout.isatty() else 116).print(table)


if __name__ == "__main__":
    main()
