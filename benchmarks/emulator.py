"""How much the emulator takes and answers per second of its CPU time, beside a bare stand-in in the same run.

    make bench ARGS="--tasks 50000"

So that it is never what a benchmark of a queue measures. Rates are per CPU-second of the server's process:
what the load generator needs is not counted. The stand-in is the least that speaks the protocol (a dict
and no rules, on the same web server); its ratio shows what validation, money, ledger and faults cost.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import socket
import subprocess
import sys
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import psutil
import uvicorn
from rich.console import Console
from rich.table import Table
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from websockets.sync.client import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.requests import Request

GROUP = 100
TARGETS = {"accepted in groups": 3_000, "polled items": 20_000}
LARGEST_MIB = 1_000


@dataclass(frozen=True)
class Server:
    """A process that answers at a port."""

    name: str
    port: int
    process: psutil.Process


def main() -> None:
    """Measure, print the table, and end with 1 where a target is missed."""
    parser = argparse.ArgumentParser(description="Measure the emulator.")
    parser.add_argument("--tasks", type=int, default=50_000, help="tasks in flight at the end")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with emulator() as ours:
        figures = {"emulator": measure(ours, options.tasks, sockets=True)}
        figures["emulator"]["MiB with all in flight"] = ours.process.memory_info().rss / 2**20
    with stand_in() as bare:
        figures["stand-in"] = measure(bare, options.tasks, sockets=False)
    show(figures, as_json=options.json)
    missed = [name for name, least in TARGETS.items() if figures["emulator"][f"REST: {name}"] < least]
    if missed or figures["emulator"]["MiB with all in flight"] > LARGEST_MIB:
        sys.exit(f"target missed: {', '.join(missed) or 'memory'}")


def measure(server: Server, count: int, *, sockets: bool) -> dict[str, float]:
    """Send `count` tasks that stay in flight, a share of them in each way, and poll them all."""
    singles = max(GROUP, count // 25)
    grouped = [tasks(GROUP) for _ in range((count - 2 * singles) // (2 * GROUP))]
    alone, alone_ws = [tasks(1) for _ in range(singles)], [tasks(1) for _ in range(singles)]
    grouped_ws = [tasks(GROUP) for _ in range(len(grouped))]
    polls = [polls_of(group) for group in grouped]
    figures: dict[str, float] = {}
    with rest(server) as send:
        figures["REST: accepted in groups"] = rate(server, send, grouped)
        figures["REST: accepted one by one"] = rate(server, send, alone)
    if sockets:
        with websocket(server) as send:
            figures["WebSocket: accepted in groups"] = rate(server, send, grouped_ws)
            figures["WebSocket: accepted one by one"] = rate(server, send, alone_ws)
            figures["WebSocket: polled items"] = rate(server, send, polls)
    with rest(server) as send:
        figures["REST: polled items"] = rate(server, send, polls)
    return figures


def rate(server: Server, send: Callable[[bytes], Any], messages: list[list[dict[str, Any]]]) -> float:
    """Tasks per CPU-second of the server. Raises AssertionError where one is not answered."""
    bodies = [orjson.dumps(message) for message in messages]
    before = cpu_s(server)
    answered = sum(len(send(body)["data"]) for body in bodies)
    spent = cpu_s(server) - before
    assert answered == sum(map(len, messages)), f"{server.name} answered {answered}"
    return answered / spent


def cpu_s(server: Server) -> float:
    """CPU seconds that the server's process has used."""
    times = server.process.cpu_times()
    return times.user + times.system


def tasks(count: int) -> list[dict[str, Any]]:
    """New tasks, which are slow enough to stay in flight."""
    return [
        {
            "taskType": "imageInference",
            "taskUUID": str(uuid.uuid4()),
            "model": "runware:400@1",
            "positivePrompt": "a lighthouse at dusk, waves against the rocks, oil on canvas",
            "width": 1024,
            "height": 1024,
            "deliveryMethod": "async",
            "includeCost": True,
        }
        for _ in range(count)
    ]


def polls_of(group: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One getResponse for each task."""
    return [{"taskType": "getResponse", "taskUUID": task["taskUUID"]} for task in group]


@contextmanager
def rest(server: Server) -> Iterator[Callable[[bytes], Any]]:
    """One kept-alive connection."""
    headers = {"Authorization": "Bearer bench", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", server.port)

    def send(body: bytes) -> Any:
        connection.request("POST", "/v1", body, headers)
        return orjson.loads(connection.getresponse().read())

    yield send
    connection.close()


@contextmanager
def websocket(server: Server) -> Iterator[Callable[[bytes], Any]]:
    """One socket that has logged in."""
    with connect(f"ws://127.0.0.1:{server.port}/v1", max_size=None, compression=None) as socket_:

        def send(body: bytes) -> Any:
            socket_.send(body.decode())
            return orjson.loads(socket_.recv())

        send(orjson.dumps([{"taskType": "authentication", "apiKey": "bench"}]))
        yield send


@contextmanager
def emulator() -> Iterator[Server]:
    """The emulator as users run it, with images that take hours."""
    command = [sys.executable, "-m", "runware_jobs.emulator", "--port=0", "--quiet", "--latency=image=36000"]
    with subprocess.Popen([*command, "--balance=100000000"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2])
        try:
            yield Server("emulator", port, psutil.Process(process.pid))
        finally:
            process.terminate()


@contextmanager
def stand_in() -> Iterator[Server]:
    """The least that acknowledges and is polled."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = multiprocessing.get_context("fork").Process(target=serve_bare, args=(listener,))
        process.start()
        try:
            yield Server("stand-in", listener.getsockname()[1], psutil.Process(process.pid))
        finally:
            process.terminate()
            process.join()


def serve_bare(listener: socket.socket) -> None:
    """Serve the stand-in on an open socket."""
    accepted: dict[str, dict[str, Any]] = {}

    async def answer(request: Request) -> Response:
        data = []
        for task in orjson.loads(await request.body()):
            known = accepted.get(task["taskUUID"])
            if task["taskType"] == "getResponse" and known is not None:
                data.append({**known, "status": "processing"})
            else:
                accepted[task["taskUUID"]] = {name: task[name] for name in ("taskType", "taskUUID")}
                data.append(accepted[task["taskUUID"]])
        return Response(orjson.dumps({"data": data}), media_type="application/json")

    app = Starlette(routes=[Route("/v1", answer, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False))
    server.run(sockets=[listener])


def show(figures: dict[str, dict[str, float]], *, as_json: bool) -> None:
    """Print the table, or JSON for machines."""
    if as_json:
        print(
            json.dumps(
                {who: {name: round(value) for name, value in of.items()} for who, of in figures.items()}
            )
        )
        return
    table = Table("per CPU-second", "emulator", "stand-in", "ratio", "target", title="Emulator")
    for name, value in figures["emulator"].items():
        bare = figures["stand-in"].get(name)
        target = TARGETS.get(name.partition(": ")[2], LARGEST_MIB if "MiB" in name else None)
        table.add_row(
            name,
            f"{value:,.0f}",
            f"{bare:,.0f}" if bare else "",
            f"{value / bare:.2f}" if bare else "",
            f"{target:,}" if target else "",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
