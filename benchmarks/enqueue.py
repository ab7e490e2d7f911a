"""How fast jobs are enqueued, beside what a Celery producer reaches on the same broker in the same run.

    make bench ARGS="--jobs 20000"

Ratios count, not figures: the machine is shared. Ours writes rows that survive the
broker; the others' messages are gone with an unsaved Redis. SAQ takes part where it is
installed; no dependency of ours brings it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery import Celery
from rich.console import Console
from rich.table import Table

from runware_jobs import Jobs, Settings
from runware_jobs.embedded import open_engines
from runware_jobs.store.database import migrate

if TYPE_CHECKING:
    from collections.abc import Callable

PARAMS = {"model": "runware:400@1", "positivePrompt": "a lighthouse at dusk", "width": 1024, "height": 1024}


def rate(count: int, work: Callable[[], object]) -> float:
    """Give jobs per second of `work`, which enqueues `count`."""
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


def main() -> None:
    """Measure three times each, alternating, and print the best of each."""
    parser = argparse.ArgumentParser(description="Measure how fast jobs are enqueued.")
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="runware-jobs-bench-"))
    try:
        with open_engines(home, realm="emulator", idle_s=0) as engines:
            migrate(engines.database_url)
            settings = Settings(database_url=engines.database_url, broker_url=engines.broker_url)
            best = measure(settings, options.jobs, options.rounds)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    show(best, as_json=options.json)


def measure(settings: Settings, count: int, rounds: int) -> dict[str, float]:
    """Run every way `rounds` times, in turns, so that a slow moment of the machine hits all."""
    app = Celery(broker=settings.broker_url, set_as_current=False)
    singles = max(200, count // 20)
    with Jobs(settings) as jobs:
        ways: dict[str, Callable[[], float]] = {
            "enqueue_many": lambda: rate(count, lambda: jobs.enqueue_many([PARAMS] * count)),
            "enqueue, one by one": lambda: rate(
                singles, lambda: [jobs.enqueue(PARAMS) for _ in range(singles)]
            ),
            "Celery send_task, one by one": lambda: rate(
                singles,
                lambda: [app.send_task("bench", args=[PARAMS], queue="bench") for _ in range(singles)],
            ),
            "Celery send_task, in batches": lambda: rate(count, lambda: send_batches(app, count)),
        }
        if find_spec("saq") is not None:
            ways["SAQ enqueue, 100 at once"] = lambda: rate(
                count, lambda: asyncio.run(enqueue_with_saq(settings.broker_url, count))
            )
        best = dict.fromkeys(ways, 0.0)
        for _ in range(rounds):
            for name, way in ways.items():
                best[name] = max(best[name], way())
    return best


def send_batches(app: Celery, count: int) -> None:
    """Publish as fast as Celery can: the producer of Celery 5.7 sends 500 messages in one go."""
    with app.producer_pool.acquire(block=True) as producer, producer.batch(max_size=500):
        for _ in range(count):
            app.send_task("bench", args=[PARAMS], queue="bench", producer=producer)


async def enqueue_with_saq(broker_url: str, count: int) -> None:
    """Enqueue with SAQ, as many at once as its connections take."""
    from saq import Queue  # noqa: PLC0415  it need not be installed

    url = broker_url.replace("redis+socket://", "unix://").replace("virtual_host=", "db=")
    queue = Queue.from_url(url) if not url.startswith("unix://") else _saq_queue(url)
    try:
        for _ in range(count // 100):
            await asyncio.gather(*(queue.enqueue("bench", params=PARAMS) for _ in range(100)))
    finally:
        await queue.disconnect()


def _saq_queue(url: str) -> Any:
    # SAQ tells its brokers apart by the URL's beginning, and knows no socket.
    from redis.asyncio import Redis  # noqa: PLC0415  as above
    from saq.queue.redis import RedisQueue  # noqa: PLC0415  as above

    return RedisQueue(Redis.from_url(url))


def show(best: dict[str, float], *, as_json: bool) -> None:
    """Print the table, or JSON for machines."""
    if as_json:
        print(json.dumps({name: round(value) for name, value in best.items()}))
        return
    peer = best["Celery send_task, one by one"]
    table = Table("way", "jobs per second", "against Celery", title="Enqueue")
    for name, value in best.items():
        table.add_row(name, f"{value:,.0f}", f"{value / peer:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
