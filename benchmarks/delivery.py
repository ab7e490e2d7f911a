"""How fast webhooks are delivered, beside one Celery task per webhook with the same signing.

    make bench WHAT=delivery ARGS="--events 5000"

The burst: so many jobs are canceled at once, which leaves one final event each, for an
endpoint on this machine that answers 200 at once. The stream: images that the emulator
makes at once, enqueued at a steady rate. Ours is a whole worker process as users start it, with every event, row and
line of the log in Postgres. The peer is a Celery worker with late acks and Redis, whose
task signs the same body with the same library and posts it with a client that stays
open. Times count from the commit (ours, by Postgres' own record of it) or from just
before the publish (the peer) to the arrival, on one clock.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from benchmarks.emulated import running_emulator
from benchmarks.stage import (
    Meter,
    environment_for,
    running_engines,
    settings_for,
    start_program,
    start_worker,
)
from runware_jobs import Jobs
from runware_jobs.core.signing import new_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.emulated import Emulated
    from benchmarks.stage import Engines, Program

PARAMS = {"model": "runware:400@1", "positivePrompt": "a lighthouse at dusk", "width": 1024, "height": 1024}
_ENDS_WITHIN_S = 300.0
_LOOK_S = 0.05
_SECRET_KEY = "a key for this benchmark"
_COMMITTED = """
SELECT CAST(id AS text), EXTRACT(EPOCH FROM pg_xact_commit_timestamp(xmin)) FROM runware_jobs.event
WHERE type IN ('job.canceled', 'job.succeeded')
"""


# The receiver, in a process of its own: it writes down the id and the time of each arrival.


class _Arrivals(asyncio.Protocol):
    """Answers 200 to every POST on a connection that stays open."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            size = int(_header(head, b"content-length"))
            if len(self._buffer) < end + 4 + size:
                return
            self._buffer = self._buffer[end + 4 + size :]
            self._log(f"{_header(head, b'webhook-id').decode()} {time.time():.6f}\n")
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def _header(head: bytes, name: bytes) -> bytes:
    at = head.index(b"\r\n" + name + b":") + len(name) + 3
    return head[at:].split(b"\r\n", 1)[0].strip()


async def _receive(book: Path) -> None:
    with book.open("w", buffering=1) as file:
        server = await asyncio.get_running_loop().create_server(
            lambda: _Arrivals(lambda line: print(line, end="", file=file)), "127.0.0.1", 0
        )
        print(f"port {server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()


@dataclass(slots=True)
class Receiver:
    """The running receiver: its URL, its process, and what has arrived."""

    url: str
    program: Program
    book: Path

    def arrivals(self) -> dict[str, float]:
        """Give when each id came first."""
        found: dict[str, float] = {}
        for line in self.book.read_text().splitlines():
            event_id, _, at = line.partition(" ")
            found.setdefault(event_id, float(at))
        return found

    def wait_for(self, count: int) -> dict[str, float]:
        """Wait until so many ids have come."""
        give_up_at = time.monotonic() + _ENDS_WITHIN_S
        while True:
            with self.book.open("rb") as file:
                lines = sum(1 for _ in file)
            # Read only when it can be enough: this process must not be what is measured.
            if lines >= count and len(found := self.arrivals()) >= count:
                return found
            if time.monotonic() > give_up_at:
                sys.exit(f"only {lines} of {count} webhooks arrived within {_ENDS_WITHIN_S:g} s")
            time.sleep(_LOOK_S)


@contextmanager
def running_receiver(folder: Path, name: str) -> Iterator[Receiver]:
    """Start the receiver on a free port, with an empty book."""
    book = folder / f"{name}.arrivals"
    log = folder / f"{name}.receiver.log"
    program = start_program(
        [sys.executable, "-m", "benchmarks.delivery", "--receive", book], environment=os.environ, log=log
    )
    try:
        program.wait_for("port ")
        yield Receiver(f"http://127.0.0.1:{log.read_text().split()[1]}/hooks", program, book)
    finally:
        program.kill()


@dataclass(frozen=True, slots=True)
class Measured:
    """One way: webhooks per second in the burst, CPU seconds per 1,000, and times to the arrival in seconds."""

    name: str
    rate: float
    worker_cpu_s: float
    servers_cpu_s: float
    receiver_cpu_s: float
    burst_s: tuple[float, float]
    stream_s: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Load:
    """How many webhooks at once, and then how many at which rate."""

    events: int
    stream: int
    per_second: float


def measure_ours(engines: Engines, emulated: Emulated, load: Load, folder: Path) -> Measured:
    """Measure one worker process as users start it."""
    engines.empty()
    emulated.reset(image=0.05)
    settings = settings_for(engines, emulated, secret_key=_SECRET_KEY, allow_private_webhooks=True)
    environment = environment_for(
        engines,
        emulated,
        RUNWARE_JOBS_SECRET_KEY=_SECRET_KEY,
        RUNWARE_JOBS_ALLOW_PRIVATE_WEBHOOKS="true",
    )
    with running_receiver(folder, "ours") as receiver, Jobs(settings) as jobs:
        _add_endpoint(environment, receiver.url)
        worker = start_worker(environment, log=folder / "worker.log")
        try:
            # Not due for a day: the worker has nothing to do but to deliver.
            jobs.enqueue_many([PARAMS] * 20, name="rehearsal", delay_s=86_400).cancel()
            receiver.wait_for(20)
            batch = jobs.enqueue_many([PARAMS] * load.events, name="burst", delay_s=86_400)
            meter = _meter(engines, worker, receiver)
            meter.start()
            batch.cancel()
            arrived = receiver.wait_for(20 + load.events)
            used = meter.read()
            committed = dict(engines.query(_COMMITTED))
            burst = [at - float(committed[event_id]) for event_id, at in arrived.items()]
            span_s = max(arrived.values()) - min(
                float(committed[event_id]) for event_id in list(arrived)[20:]
            )
            _steadily(load, [lambda: jobs.enqueue(PARAMS)] * load.stream)
            later = receiver.wait_for(20 + load.events + load.stream)
            committed = dict(engines.query(_COMMITTED))
            stream = [
                at - float(committed[event_id]) for event_id, at in later.items() if event_id not in arrived
            ]
        finally:
            worker.stop()
    return _measured("ours", load, span_s, used, burst[20:], stream)


def _add_endpoint(environment: dict[str, str], url: str) -> None:
    command = [sys.executable, "-m", "runware_jobs", "webhooks", "add", url]
    command += ["--event", "job.canceled", "--event", "job.succeeded", "--json"]
    subprocess.run(command, env=environment, check=True, capture_output=True)


def measure_celery(engines: Engines, load: Load, folder: Path, *, concurrency: int) -> Measured:
    """Measure one Celery worker that posts a webhook in each task."""
    engines.empty()
    name = f"Celery, threads {concurrency}"
    with running_receiver(folder, f"celery-{concurrency}") as receiver:
        environment = os.environ | {
            "BENCH_BROKER": engines.broker_url,
            "BENCH_URL": receiver.url,
            "BENCH_SECRET": new_secret(),
        }
        worker = start_program(
            [
                *(
                    sys.executable,
                    "-m",
                    "celery",
                    "-A",
                    "benchmarks.delivery_peer",
                    "worker",
                    "-P",
                    "threads",
                ),
                *("-c", str(concurrency), "-l", "INFO", "--without-gossip", "--without-mingle"),
            ],
            environment=environment,
            log=folder / f"celery-{concurrency}.log",
        )
        try:
            worker.wait_for("ready.")
            peer = _Peer(environment)
            peer.publish(20)
            receiver.wait_for(20)
            meter = _meter(engines, worker, receiver)
            meter.start()
            # As a web application sends them: each when its own transaction has ended.
            peer.publish(load.events)
            arrived = receiver.wait_for(20 + load.events)
            used = meter.read()
            burst = [at - peer.published[event_id] for event_id, at in list(arrived.items())[20:]]
            span_s = max(arrived.values()) - min(list(peer.published.values())[20:])
            _steadily(load, [lambda: peer.publish(1)] * load.stream)
            later = receiver.wait_for(20 + load.events + load.stream)
            stream = [
                at - peer.published[event_id] for event_id, at in later.items() if event_id not in arrived
            ]
        finally:
            worker.stop()
    return _measured(name, load, span_s, used, burst, stream)


class _Peer:
    """Publishes one task for each webhook, and knows when."""

    def __init__(self, environment: dict[str, str]) -> None:
        os.environ.update(environment)
        from benchmarks import delivery_peer  # noqa: PLC0415  it reads the environment

        self._app = delivery_peer.make_app()
        self._event = delivery_peer.EVENT
        self.published: dict[str, float] = {}

    def publish(self, count: int) -> None:
        """Publish so many, in batches when there are several: the faster of Celery's two ways."""
        if count == 1:
            self._send()
            return
        with self._app.producer_pool.acquire(block=True) as producer, producer.batch(max_size=500):
            for _ in range(count):
                self._send(producer=producer)

    def _send(self, **options: Any) -> None:
        event_id = os.urandom(16).hex()
        self.published[event_id] = time.time()
        self._app.send_task("bench.deliver", args=[event_id, self._event | {"id": event_id}], **options)


def _meter(engines: Engines, worker: Program, receiver: Receiver) -> Meter:
    return Meter(
        {
            "worker": [worker.tree],
            "servers": [engines.postgres, engines.valkey],
            "receiver": [receiver.program.tree],
        },
        memory_of="worker",
    )


def _steadily(load: Load, acts: list[Callable[[], object]]) -> None:
    """Do these one after another at the load's rate."""
    began = time.monotonic()
    for number, act in enumerate(acts):
        time.sleep(max(0.0, began + number / load.per_second - time.monotonic()))
        act()


def _measured(
    name: str, load: Load, span_s: float, used: dict[str, float], burst: list[float], stream: list[float]
) -> Measured:
    thousands = load.events / 1000
    return Measured(
        name=name,
        rate=load.events / span_s,
        worker_cpu_s=used["worker"] / thousands,
        servers_cpu_s=used["servers"] / thousands,
        receiver_cpu_s=used["receiver"] / thousands,
        burst_s=_median_and_p95(burst),
        stream_s=_median_and_p95(stream),
    )


def _median_and_p95(times_s: list[float]) -> tuple[float, float]:
    if len(times_s) < 2:
        return (0.0, 0.0)
    return statistics.median(times_s), statistics.quantiles(times_s, n=20)[-1]


def main() -> None:
    """Measure each way in turns, and print the best round of each."""
    parser = argparse.ArgumentParser(description="Measure how fast webhooks are delivered.")
    parser.add_argument("--events", type=int, default=5_000)
    parser.add_argument("--stream", type=int, default=500, help="webhooks of the steady part")
    parser.add_argument("--per-second", type=float, default=50.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--threads", type=int, nargs="*", default=[8], help="of the Celery worker; several are all measured"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--receive", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.receive:
        asyncio.run(_receive(options.receive))
        return
    load = Load(options.events, options.stream, options.per_second)
    best: dict[str, Measured] = {}
    with running_engines(track_commit_timestamp="on") as engines, running_emulator() as emulated:
        for _ in range(options.rounds):
            rounds = [measure_ours(engines, emulated, load, engines.folder)]
            rounds += [
                measure_celery(engines, load, engines.folder, concurrency=threads)
                for threads in options.threads
            ]
            for one in rounds:
                if one.name not in best or one.rate > best[one.name].rate:
                    best[one.name] = one
    show(list(best.values()), as_json=options.json)


def show(ways: list[Measured], *, as_json: bool) -> None:
    """Print the table, or JSON for machines."""
    if as_json:
        print(json.dumps([asdict(one) for one in ways]))
        return
    best_peer = max((one.rate for one in ways if one.name != "ours"), default=0.0)
    table = Table(
        "way",
        "webhooks per second",
        "against Celery",
        "worker CPU s per 1,000",
        "PG+Redis",
        "receiver",
        "burst, s: median / p95",
        "steady, ms: median / p95",
        title="Delivery",
    )
    for one in ways:
        table.add_row(
            one.name,
            f"{one.rate:,.0f}",
            f"{one.rate / best_peer:.1f}" if best_peer else "",
            f"{one.worker_cpu_s:.2f}",
            f"{one.servers_cpu_s:.2f}",
            f"{one.receiver_cpu_s:.2f}",
            f"{one.burst_s[0]:.2f} / {one.burst_s[1]:.2f}",
            f"{one.stream_s[0] * 1000:.0f} / {one.stream_s[1] * 1000:.0f}",
        )
    Console(width=None if sys.stdout.isatty() else 116).print(table)


if __name__ == "__main__":
    main()
