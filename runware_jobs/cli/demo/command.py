"""The command `demo`: sets the stage, plays, shows what came of it, and leaves nothing running.

A demo cannot mix with a running `up`. While nobody serves the home's data, the demo
does, under the account that `up` would use: `up` shows the demo's jobs later, and
goes on with what an interrupted demo has left. While somebody does, or the
emulator's usual port is taken, the demo has a home of its own (other engines,
another queue) and a key that nobody else has: a claim takes jobs of its worker's own
account only, so that not even two such demos can take each other's jobs.
"""

import asyncio
import os
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from runware_jobs.cli.batch_files import read_budget
from runware_jobs.cli.sole import sole
from runware_jobs.cli.stage import (
    API_PORT,
    EMULATOR_PORT,
    Stage,
    is_free,
    open_stage,
    settings_with,
)
from runware_jobs.cli.terminal import (
    DONE,
    FAILED,
    INTERRUPTED,
    AsJson,
    dollars_text,
    err,
    new_table,
    note,
    out,
    print_json,
    seconds_between,
    seconds_text,
    state_text,
)

from .prompts import read_prompts

if TYPE_CHECKING:
    from rich.console import Console

    from runware_jobs.settings import Settings

    from .play import Outcome, Program

_QUICK_PICTURES: Final = 6
# How long tasks take, in seconds of the platform: videos and a training of two hours
# have shrunk to what fits a demo. The same for --quick: the worker learns how long a
# model takes, and would ask about shorter ones as late as about these.
_LATENCIES: Final = "image=4-12,video=14-18,training=40"
_SPEED: Final = 4.0
# Few enough that one sees the queue do its work: pictures come in waves.
_MAX_IN_FLIGHT: Final = 8
_WITHIN_S: Final = 90.0
_REAL_WITHIN_S: Final = 600.0
_BUDGET_USD: Final = "1.00"
_NUMBERS_WIDTH: Final = 46


@dataclass(frozen=True, slots=True)
class _Scene:
    """Where the demo plays: settings, the emulator's port, and whether the account is the demo's alone."""

    settings: "Settings"
    emulator_port: int
    own_account: bool


def demo(
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Six pictures, a short video, no training: ten seconds.")
    ] = False,
    real: Annotated[
        bool, typer.Option("--real", help="On the real platform, for money; needs RUNWARE_API_KEY.")
    ] = False,
    budget: Annotated[
        str, typer.Option("--budget", metavar="USD", help="With --real: spend no more than this.")
    ] = _BUDGET_USD,
    yes: Annotated[bool, typer.Option("--yes", help="With --real: do not ask.")] = False,
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="Where the files go.")] = Path(
        "demo-output"
    ),
    speed: Annotated[
        float | None, typer.Option("--speed", help="How much faster than the platform the emulator is.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Stay until Ctrl-C in the end, to look at API and dashboard.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Make pictures, a video and a training, with everything on this machine.

    Runs a database, a broker, a worker, the API and an emulated platform. Needs no key
    and no network, and ends by itself in half a minute.

    Example: runware-jobs demo --quick
    """
    console = err() if as_json else out()
    budget_usd = read_budget(budget) if real else None
    if real:
        _real_scene()  # what is missing is said before anything is asked
    program = _program(quick=quick, real=real, budget_usd=budget_usd)
    if real and not yes and not _agree(program):
        note("Nothing was sent.")
        return FAILED
    emulator_options = (f"--speed={speed or _SPEED:g}", f"--latency={_LATENCIES}")
    try:
        with ExitStack() as held:
            scene = _real_scene() if real else _emulated_scene(held)
            return _perform(
                console, scene, program, output, emulator_options=emulator_options, keep=keep, as_json=as_json
            )
    except KeyboardInterrupt:
        note("\nStopped; nothing is left running. What was enqueued is kept.")
        return INTERRUPTED


def _emulated_scene(held: ExitStack) -> _Scene:
    # A demo shows the defaults, and must never reach the platform, a database or an
    # archive that somebody's shell names. This process and its children only.
    for name in [name for name in os.environ if name.startswith("RUNWARE_") and name != "RUNWARE_JOBS_HOME"]:
        del os.environ[name]
    settings = settings_with(embedded_idle_s=0.0)
    os.environ["RUNWARE_JOBS_MAX_IN_FLIGHT"] = str(_MAX_IN_FLIGHT)
    if is_free(EMULATOR_PORT) and held.enter_context(sole(settings.home / settings.realm)) is not None:
        return _Scene(settings, EMULATOR_PORT, own_account=False)
    apart = settings_with(embedded_idle_s=0.0, home=settings.home / "demo")
    return _Scene(apart, 0, own_account=True)


def _real_scene() -> _Scene:
    given = settings_with()
    if given.api_key is None or not given.is_platform:
        raise typer.BadParameter(
            "--real needs RUNWARE_API_KEY (and RUNWARE_JOBS_HTTP_BASE_URL unset); without a key: runware-jobs demo"
        )
    # Its own data: a demo must not start jobs for money that wait in the queue of `up`.
    settings = settings_with(
        embedded_idle_s=0.0, home=given.home / "demo", database_url=None, broker_url=None
    )
    return _Scene(settings, EMULATOR_PORT, own_account=False)


def _program(*, quick: bool, real: bool, budget_usd: Decimal | None) -> "Program":
    from .play import Program  # noqa: PLC0415  loads the HTTP client

    prompts = read_prompts()
    return Program(
        prompts=prompts[:_QUICK_PICTURES] if quick or real else prompts,
        has_video=not real,
        has_upload=not real,
        has_training=not (quick or real),
        budget_usd=budget_usd,
        within_s=_REAL_WITHIN_S if real else _WITHIN_S,
    )


def _agree(program: "Program") -> bool:
    from .play import IMAGE_MODEL, IMAGE_SIZE  # noqa: PLC0415  loads the HTTP client

    size = f"{IMAGE_SIZE['width']}x{IMAGE_SIZE['height']}"
    note(
        f"This makes {len(program.prompts)} pictures of {size} with {IMAGE_MODEL} on the real platform, for money."
        " The platform bills this model by compute time, so the price is not known beforehand."
        f" The batch has a budget: when it has cost {dollars_text(program.budget_usd)}, nothing more is sent;"
        " what is on its way then is still billed."
    )
    return typer.confirm("Go on?", err=True)


def _perform(
    console: "Console",
    scene: _Scene,
    program: "Program",
    output: Path,
    *,
    emulator_options: tuple[str, ...],
    keep: bool,
    as_json: bool,
) -> int:
    output.mkdir(parents=True, exist_ok=True)
    console.print("[bold]runware-jobs demo[/bold]")
    cast = "Postgres, Redis, a worker, the API"
    if scene.settings.realm == "emulator":
        cast += " and the platform's emulator"
    console.print(f"[dim]Starting {cast} ...[/dim]")
    state = scene.settings.home.resolve() / scene.settings.realm / "emulator.sqlite"
    with open_stage(
        scene.settings,
        emulator_port=scene.emulator_port,
        api_port=API_PORT,
        emulator_options=(*emulator_options, f"--state={state}"),
        own_account=scene.own_account,
        prefix="demo-",
    ) as stage:
        console.print(f"[dim]{_cast(stage)}[/dim]\n", soft_wrap=True)
        outcome = asyncio.run(_play(console, stage, program, output))
        code = _tell(console, stage, outcome, output, as_json=as_json)
        if keep:
            note(f"Still running: {stage.api_url}/ (Ctrl-C stops it)")
            _wait_for_interrupt()
    return code


def _cast(stage: Stage) -> str:
    platform = f"emulator {stage.emulator_url}" if stage.emulator_url else "the real platform"
    return f"API {stage.api_url}   {platform}   logs {_short(stage.log_dir)}"


async def _play(console: "Console", stage: Stage, program: "Program", output: Path) -> "Outcome":
    from runware_jobs.jobs import AsyncJobs  # noqa: PLC0415  loads the queue

    from .display import open_display  # noqa: PLC0415  beside its only use
    from .play import Play, open_downloads  # noqa: PLC0415  loads the HTTP client

    async with (
        AsyncJobs(stage.settings) as jobs,
        open_downloads(stage.settings.http_base_url) as downloads,
    ):
        with open_display(console) as display:
            return await Play(jobs, program, output, downloads).run(display)


def _tell(console: "Console", stage: Stage, outcome: "Outcome", output: Path, *, as_json: bool) -> int:
    from .sheet import write_sheet  # noqa: PLC0415  loads the template engine

    maker = "the platform's emulator" if stage.emulator_url else "Runware"
    sheet = write_sheet(outcome, output, platform=maker)
    if as_json:
        print_json(_as_dict(outcome, sheet))
    else:
        _print_table(console, outcome)
    if not outcome.is_good:
        _print_troubles(console, stage, outcome)
        return FAILED
    console.print(
        f"[green]{len(outcome.pieces)} jobs in {outcome.seconds:.1f} s"
        f" for {dollars_text(outcome.cost_usd)}"
        f"{' of play money' if stage.emulator_url else ''}.[/green]\n"
    )
    console.print("What to try next")
    console.print(f"  open [bold]{_short(sheet)}[/bold] in a browser", soft_wrap=True)
    console.print("  [bold]runware-jobs up[/bold] keeps all this running, with a dashboard")
    console.print("  the README's first twenty lines enqueue from your own code")
    return DONE


def _print_table(console: "Console", outcome: "Outcome") -> None:
    from rich.markup import escape  # noqa: PLC0415  only where something is shown

    table = new_table("job", "kind", "state", "seconds", "cost", right=("seconds", "cost"))
    # The numbers keep their room, and a long prompt gives way.
    title, *others = table.columns
    title.no_wrap, title.overflow = True, "ellipsis"
    for column, width in zip(others, (8, 9, 7, 8), strict=True):
        column.min_width = width
    title.max_width = max(console.width - _NUMBERS_WIDTH, 20)
    for piece in outcome.pieces:
        view = piece.job.to_dict()
        table.add_row(
            escape(piece.title),
            piece.job.kind,
            state_text(piece.job.state),
            seconds_text(seconds_between(view["submitted_at"], view["finished_at"])),
            dollars_text(piece.job.cost_usd),
        )
    console.print(table)


def _print_troubles(console: "Console", stage: Stage, outcome: "Outcome") -> None:
    from rich.markup import escape  # noqa: PLC0415  only where something is shown

    for piece in outcome.pieces:
        if piece.job.error:
            console.print(f"[red]{escape(piece.title)}[/red]: {escape(str(piece.job.error['message']))}")
    for trouble in outcome.troubles:
        console.print(f"[red]{escape(trouble)}[/red]", soft_wrap=True)
    if outcome.batch.state == "paused":
        reason = outcome.batch.to_dict()["pause_reason"]
        console.print(f"[yellow]The batch is paused: {escape(str(reason))}[/yellow]")
    elif not outcome.has_ended:
        console.print(
            f"[red]Not everything ended in time.[/red] Logs: {_short(stage.log_dir)}", soft_wrap=True
        )


def _as_dict(outcome: "Outcome", sheet: Path) -> dict[str, Any]:
    return {
        "succeeded": sum(piece.job.state == "succeeded" for piece in outcome.pieces),
        "total": len(outcome.pieces),
        "seconds": round(outcome.seconds, 1),
        "cost_usd": outcome.cost_usd,
        "sheet": str(sheet),
        "batch_id": outcome.batch.id,
        "jobs": [
            {
                "id": piece.job.id,
                "title": piece.title,
                "kind": piece.job.kind,
                "state": piece.job.state,
                "cost_usd": piece.job.cost_usd,
                "file": str(piece.file) if piece.file else None,
            }
            for piece in outcome.pieces
        ],
    }


def _wait_for_interrupt() -> None:
    import threading  # noqa: PLC0415  only with --keep

    threading.Event().wait()


def _short(path: Path) -> str:
    """Give a path as a person here would write it."""
    resolved = path.resolve()
    here = Path.cwd().resolve()
    return str(resolved.relative_to(here)) if resolved.is_relative_to(here) else str(resolved)
