"""The command line of the emulator: serve it, and set faults of one that runs.

`application` can be mounted in another typer application.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from dataclasses import replace
from pathlib import Path  # noqa: TC003  # typer reads the annotations when it runs
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import orjson
import typer
from rich.console import Console

from .app import create_app
from .config import Config
from .faults.actions import READY_MADE
from .latencies import DEFAULT_LATENCIES, parse_latencies
from .serve import create_server
from .state import StateFile
from .switches import ConfigError, Switches, parse_switches
from .terminal import banner, fault_list, switch_list

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.applications import Starlette

_WRONG_USE = 2
_USUAL_ADDRESS = "http://127.0.0.1:9300"


def application(name: str = "emulator") -> typer.Typer:
    """The emulator's command with its subcommand `fault`."""
    app = typer.Typer(name=name, add_completion=False, pretty_exceptions_enable=False)
    settings = {"help_option_names": ["-h", "--help"]}
    app.callback(invoke_without_command=True, context_settings=settings)(command)
    app.command(context_settings=settings)(fault)
    return app


def command(
    context: typer.Context,
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
        typer.Option(help="Task durations in platform seconds: image=0.2,video=1-2,audio=~3-20 (lognormal)."),
    ] = "",
    switch: Annotated[
        list[str] | None, typer.Option(help="Choose a behaviour: failure_form=A. Several may be given.")
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="A fault rule as JSON, a list of them, or a ready-made one's name."),
    ] = None,
    ready_file: Annotated[Path | None, typer.Option(help="Write the address here once it is served.")] = None,
    public_url: Annotated[str | None, typer.Option(help="Address to put into media URLs.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No banner.")] = False,
    list_switches: Annotated[
        bool, typer.Option("--list-switches", help="Show every switch and end.")
    ] = False,
    list_faults: Annotated[
        bool, typer.Option("--list-faults", help="Show what can go wrong and end.")
    ] = False,
) -> None:
    """Emulate the Runware platform on this machine.

    Any API key is accepted but `bad-key`; keys `acme.one` and `acme.two` belong to one organisation.

    Example: runware-jobs emulator --port 9300 --speed 60
    """
    if context.invoked_subcommand is not None:
        return
    if list_switches or list_faults:
        Console(highlight=False).print(switch_list() if list_switches else fault_list(), soft_wrap=True)
        return
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
            switches=replace(Switches(), **parse_switches(switch or [])),
            faults=tuple(_rules(fault or [])),
        )
        app = create_app(config)
        if state is not None:
            # Looked at before the server starts, which would only say that it did not.
            StateFile(state).close()
    except ValueError as error:
        _fail(str(error))
    except (sqlite3.Error, OSError) as error:
        _fail(f"--state {state}: {error}; choose another file or remove it", code=1)

    _serve(app, config, ready_file=ready_file, quiet=quiet)


def fault(
    rules: Annotated[
        list[str] | None,
        typer.Argument(
            help="Rules to add: JSON, or names such as rate_limit. Without any: show those in force."
        ),
    ] = None,
    at: Annotated[
        str, typer.Option(help="The emulator's address.", envvar="RUNWARE_EMULATOR_URL")
    ] = _USUAL_ADDRESS,
    clear: Annotated[bool, typer.Option("--clear", help="Remove all rules first.")] = False,
) -> None:
    """Set faults of a running emulator, or show those in force.

    Example: runware-jobs emulator fault rate_limit '{"action": "lost", "rate": 0.01}'
    """
    url = f"{at.rstrip('/')}/_emulator/faults"
    try:
        # The emulator is on this machine: proxies of the environment know nothing about it.
        with httpx.Client(trust_env=False) as http:
            if clear:
                http.delete(url).raise_for_status()
            if rules:
                added = http.post(url, content=orjson.dumps(_rules(rules)))
                if added.is_client_error:
                    _fail(added.json()["error"])
            shown = http.get(url).raise_for_status().json()
    except ConfigError as error:
        _fail(str(error))
    except httpx.HTTPError as error:
        _fail(f"{at} does not answer ({error}); is it running there? --at names another address", code=1)
    print(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())  # noqa: T201  # the answer of the command


def _serve(app: Starlette, config: Config, *, ready_file: Path | None, quiet: bool) -> None:
    """Serve until a signal ends it."""

    def ready(real_port: int) -> None:
        shown_host = f"[{config.host}]" if ":" in config.host else config.host
        address = f"http://{shown_host}:{real_port}"
        print(f"emulator ready {address}", flush=True)  # noqa: T201  # the machine-readable line of the contract
        if ready_file is not None:
            ready_file.write_text(f"{address}\n", encoding="utf-8")
        if not quiet:
            Console(stderr=True).print(banner(config, address))

    server = create_server(app, config, ready)
    try:
        asyncio.run(server.serve())
    except SystemExit:
        # uvicorn exits by itself when the address cannot be bound; it has been silenced, so say why.
        place = f"{config.host}:{config.port}"
        _fail(f"cannot listen on {place}; is it in use? --port 0 picks a free one", code=1)
    if not server.started:
        _fail(f"could not start on {config.host}:{config.port}", code=1)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        application()(args=list(argv) if argv is not None else None, standalone_mode=True)
    except SystemExit as finished:
        return finished.code if isinstance(finished.code, int) else 1
    return 0


def _rules(texts: Sequence[str]) -> list[Any]:
    """Rules from words: names of ready-made ones and actions as they are, everything else as JSON."""
    rules: list[Any] = []
    for text in texts:
        if text.replace("_", "").isalpha():
            rules.append(text)
            continue
        try:
            decoded = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise ConfigError(
                f"fault: {text!r} is not JSON ({error}), nor one of {', '.join(READY_MADE)}; "
                'example: {"on": "submit", "action": "stuck"}'
            ) from error
        rules.extend(decoded if isinstance(decoded, list) else [decoded])
    return rules


def _fail(message: str, *, code: int = _WRONG_USE) -> None:
    Console(stderr=True).print(
        f"[red]emulator:[/red] {message}", highlight=False, markup=True, soft_wrap=True
    )
    raise typer.Exit(code)


if __name__ == "__main__":
    sys.exit(main())
