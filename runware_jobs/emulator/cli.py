"""The command line of the emulator; `command` can be mounted in another typer application."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from pathlib import Path  # noqa: TC003  # typer reads the annotations when it runs
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from .app import create_app
from .config import DEFAULT_LATENCIES, Config, ConfigError, parse_latencies
from .serve import create_server

if TYPE_CHECKING:
    from collections.abc import Sequence

_WRONG_USE = 2


def command(
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 picks a free one.", min=0, max=65535)
    ] = 9300,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    speed: Annotated[
        float, typer.Option(help="How much faster tasks run; 60 makes a minute a second.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Fixes durations, seeds and chance.")] = 1,
    balance: Annotated[str, typer.Option(help="Opening balance of every organisation, in USD.")] = "25000",
    state: Annotated[
        Path | None, typer.Option(help="Keep tasks and money in this file over restarts.")
    ] = None,
    latency: Annotated[
        str,
        typer.Option(help='Task durations in platform seconds: image=0.2,video=1-2 or {"image": [1, 3]}.'),
    ] = "",
    fault: Annotated[list[str] | None, typer.Option(help="A fault rule or a list of them, as JSON.")] = None,
    ready_file: Annotated[Path | None, typer.Option(help="Write the address here once it is served.")] = None,
    public_url: Annotated[str | None, typer.Option(help="Address to put into media URLs.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No banner.")] = False,
) -> None:
    """Emulate the Runware platform on this machine.

    Any API key is accepted but `bad-key`; keys `acme.one` and `acme.two` belong to one organisation.

    Example: runware-jobs emulator --port 9300 --speed 60
    """
    try:
        config = Config(
            host=host,
            port=port,
            speed=speed,
            seed=seed,
            balance_usd=balance,
            state_path=state,
            public_url=public_url.rstrip("/") if public_url else None,
            latencies={**DEFAULT_LATENCIES, **parse_latencies(latency)},
            faults=tuple(_fault_rules(fault or [])),
        )
        app = create_app(config)
    except (ConfigError, ValueError) as error:
        _fail(str(error))

    def ready(real_port: int) -> None:
        shown_host = f"[{host}]" if ":" in host else host
        address = f"http://{shown_host}:{real_port}"
        print(f"emulator ready {address}", flush=True)  # noqa: T201  # the machine-readable line of the contract
        if ready_file is not None:
            ready_file.write_text(f"{address}\n", encoding="utf-8")
        if not quiet:
            Console(stderr=True).print(_banner(config, address))

    server = create_server(app, config, ready)
    try:
        asyncio.run(server.serve())
    except SystemExit:
        # uvicorn exits by itself when the address cannot be bound; it has been silenced, so say why.
        _fail(f"cannot listen on {host}:{port}; is it in use? --port 0 picks a free one", code=1)
    except sqlite3.DatabaseError as error:
        _fail(f"--state {state}: {error}; choose another file or remove it", code=1)
    if not server.started:
        _fail(f"could not start on {host}:{port}", code=1)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    app = typer.Typer(add_completion=False)
    app.command()(command)
    try:
        app(args=list(argv) if argv is not None else None, standalone_mode=True)
    except SystemExit as finished:
        return finished.code if isinstance(finished.code, int) else 1
    return 0


def _fault_rules(texts: Sequence[str]) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = []
    for text in texts:
        try:
            decoded = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise ConfigError(
                f'--fault: not JSON ({error}); example: {{"on": "submit", "action": "stuck"}}'
            ) from error
        rules.extend(decoded if isinstance(decoded, list) else [decoded])
    return rules


def _banner(config: Config, address: str) -> Panel:
    table = Table.grid(padding=(0, 2))
    socket_address = address.replace("http://", "ws://", 1)
    rows = {
        "REST": f"{address}/v1",
        "WebSocket": f"{socket_address}/v1",
        "Look inside": f"{address}/_emulator",
        "Speed": f"{config.speed:g} x"
        + ("" if config.speed == 1 else f" (a minute takes {60 / config.speed:.3g} s)"),
        "API key": "any but bad-key",
        "State": str(config.state_path) if config.state_path else "in memory",
    }
    for name, value in rows.items():
        table.add_row(f"[dim]{name}[/dim]", value)
    return Panel(
        table, title="Runware emulator", subtitle="Ctrl+C stops it", expand=False, border_style="cyan"
    )


def _fail(message: str, *, code: int = _WRONG_USE) -> None:
    Console(stderr=True).print(f"[red]emulator:[/red] {message}", highlight=False)
    raise typer.Exit(code)


if __name__ == "__main__":
    sys.exit(main())
