"""What 10,000 tasks in flight cost the process that waits for them, beside the platform's own Python SDK.

    make bench WHAT=client ARGS="--tasks 10000"

Every way runs in a process of its own against one emulator, which is another process and shows its own
CPU time: a slow platform must not look like a slow client. Ratios count, not figures: the machine is shared.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import subprocess
import sys
import time
import uuid
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.emulated import Emulated, most_at_once, running_emulator
from runware_jobs.client import Polled, Runware

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Work = Callable[[str, str, int], Awaitable["Spent"]]

MODELS = {
    "image": {"taskType": "imageInference", "model": "runware:400@1", "width": 1024, "height": 1024},
    "video": {"taskType": "videoInference", "model": "google:3@3", "width": 1280, "height": 720},
}
TRANSPORTS = ("rest", "websocket")
# Longer than any of it may take; a child that hangs must not hang the benchmark.
_CHILD_S = 600.0
_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Spent:
    """What one process spent: seconds of CPU and of the clock, bytes above what it held before the first task."""

    cpu_s: float
    wall_s: float
    grown_bytes: int
    done: int


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    transport: str
    way: str
    cpu_s_per_1000: float
    requests_per_task: float
    peak_mb_over_base: float
    wall_s: float
    in_flight: int
    emulator_cpu_s_per_1000: float


def main() -> None:
    """Measure every way on every transport and print them side by side."""
    parser = argparse.ArgumentParser(description="Measure what tasks in flight cost a client.")
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--kind", choices=tuple(MODELS), default="video", help="what the tasks generate")
    parser.add_argument(
        "--speed", type=float, default=10.0, help="how much faster than the platform tasks run"
    )
    parser.add_argument("--transport", choices=TRANSPORTS, help="only this one")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", nargs=2, metavar=("WAY", "ADDRESS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        way, address = options.one
        print(json.dumps(asdict(spend(way, address, options.transport, options.kind, options.tasks))))
        return
    rows: list[Row] = []
    with running_emulator(options.speed) as emulated:
        for transport in [options.transport] if options.transport else TRANSPORTS:
            rows += [measure(way, emulated, transport, options) for way in WAYS]
    show(rows, options, as_json=options.json)


def measure(way: str, emulated: Emulated, transport: str, options: Any) -> Row:
    """Run one way in a process of its own."""
    emulated.reset()
    cpu_before_s = sum(emulated.process.cpu_times()[:2])
    command = [sys.executable, "-m", "benchmarks.client", "--one", way, emulated.address]
    command += ["--transport", transport]
    command += ["--kind", options.kind, "--tasks", str(options.tasks)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=_CHILD_S, check=False)
    if run.returncode != 0:
        sys.exit(f"{way} over {transport} failed:\n{run.stderr}")
    spent = Spent(**json.loads(run.stdout.splitlines()[-1]))
    thousands = options.tasks / 1_000
    emulator_cpu_s = sum(emulated.process.cpu_times()[:2]) - cpu_before_s
    ledger = emulated.ledger()
    accepted = ledger["totals"]["accepted"]
    if not spent.done == accepted == options.tasks:
        sys.exit(f"{way} over {transport}: {spent.done} done, {accepted} accepted of {options.tasks}")
    return Row(
        transport=transport,
        way=way,
        cpu_s_per_1000=round(spent.cpu_s / thousands, 3),
        requests_per_task=round(ledger["requests"]["total"] / options.tasks, 4),
        peak_mb_over_base=round(spent.grown_bytes / _MEGABYTE, 1),
        wall_s=round(spent.wall_s, 1),
        in_flight=most_at_once(ledger["tasks"].values()),
        emulator_cpu_s_per_1000=round(emulator_cpu_s / thousands, 3),
    )


def show(rows: list[Row], options: Any, *, as_json: bool) -> None:
    """Print the table, or JSON for machines."""
    if as_json:
        print(json.dumps({"tasks": options.tasks, "rows": [asdict(row) for row in rows]}))
        return
    title = f"{options.tasks:,} {options.kind} tasks at once, platform {options.speed:g} x as fast"
    table = Table(
        "transport", "way", "CPU s / 1,000", "requests / task", "peak MB", "wall s", "in flight",
        "emulator CPU s / 1,000", title=title,
    )  # fmt: skip
    for row in rows:
        table.add_row(
            row.transport,
            row.way,
            f"{row.cpu_s_per_1000:.3f}",
            f"{row.requests_per_task:.4f}",
            f"{row.peak_mb_over_base:.1f}",
            f"{row.wall_s:.1f}",
            f"{row.in_flight:,}",
            f"{row.emulator_cpu_s_per_1000:.3f}",
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)


# ---- in the child: one way, measured from inside ------------------------------------------------


def spend(way: str, address: str, transport: str, kind: str, count: int) -> Spent:
    """Do all tasks in this process and tell what it took."""
    return asyncio.run(WAYS[way](address, transport, [MODELS[kind] | prompt(n) for n in range(count)]))


def prompt(number: int) -> dict[str, Any]:
    """Give a task its own words, so that no two requests are the same bytes."""
    return {"positivePrompt": f"a lighthouse at dusk, number {number}", "includeCost": True}


class Stopwatch:
    """What this process has spent since `start`."""

    def __init__(self) -> None:
        gc.collect()
        self._base_bytes = psutil.Process().memory_info().rss
        self._cpu_s = time.process_time()
        self._wall_s = time.perf_counter()

    def read(self, done: int) -> Spent:
        """Tell it, with the number of tasks that ended well."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak_bytes = peak if sys.platform == "darwin" else peak * 1024
        return Spent(
            cpu_s=time.process_time() - self._cpu_s,
            wall_s=time.perf_counter() - self._wall_s,
            grown_bytes=max(0, peak_bytes - self._base_bytes),
            done=done,
        )


def options_of(address: str, transport: str) -> dict[str, Any]:
    """Name the emulator to either client."""
    return {
        "api_key": "benchmark",
        "transport": transport,
        "http_base_url": f"{address}/v1",
        "ws_base_url": f"{address.replace('http', 'ws', 1)}/v1",
    }


async def in_groups(address: str, transport: str, tasks: list[dict[str, Any]]) -> Spent:
    """`submit_many` and `poll_many`: what the queue does."""
    async with Runware(**options_of(address, transport)) as client:
        await client.ping()
        watch = Stopwatch()
        named = [{**task, "taskUUID": str(uuid.uuid4()), "deliveryMethod": "async"} for task in tasks]
        waiting = set(await client.submit_many(named))
        pause_s = 1.0
        while waiting:
            await asyncio.sleep(pause_s)
            pause_s = min(1.5 * pause_s, 10.0)
            for task_uuid, outcome in (await client.poll_many(waiting)).items():
                if isinstance(outcome, Polled) and outcome.items[0].get("status") == "success":
                    waiting.discard(task_uuid)
        return watch.read(len(named))


async def by_run(address: str, transport: str, tasks: list[dict[str, Any]]) -> Spent:
    """`run()` for each task, all at once."""
    schemas = {"schemas_base_url": f"{address}/schemas", "content_base_url": f"{address}/content"}
    async with Runware(**options_of(address, transport), **schemas) as client:
        await client.ping()
        watch = Stopwatch()
        results = await asyncio.gather(*(client.run(task) for task in tasks))
        return watch.read(sum(len(items) == 1 for items in results))


async def by_sdk(address: str, transport: str, tasks: list[dict[str, Any]]) -> Spent:
    """The same with the platform's SDK."""
    import runware  # noqa: PLC0415 - only this way's process pays for it
    from runware import client as sdk  # noqa: PLC0415

    sdk.SCHEMAS_BASE_URL = f"{address}/schemas"  # type: ignore[attr-defined] # a constant there, no option
    async with runware.Runware(**options_of(address, transport)) as client:
        await client.account_management({"operation": "getDetails"})
        watch = Stopwatch()
        results = await asyncio.gather(*(client.run(task) for task in tasks))
        return watch.read(sum(len(items) == 1 for items in results))


WAYS: dict[str, Work] = {
    "ours: submit_many, poll_many": in_groups,
    "ours: run()": by_run,
    "runware-sdk: run()": by_sdk,
}


if __name__ == "__main__":
    main()
