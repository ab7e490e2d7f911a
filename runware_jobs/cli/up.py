"""`up` and `down`: the whole service on this machine, until Ctrl-C."""

import signal
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from .doctor import left_behind
from .sole import Sole, holder_of, sole
from .stage import API_PORT, EMULATOR_PORT, Stage, is_free, open_stage, settings_with
from .terminal import DONE, FAILED, AsJson, complain, err, note, print_json, print_json_line

if TYPE_CHECKING:
    from runware_jobs.settings import Settings

_LOOK_EVERY_S: Final = 1.0
REALMS: Final = ("emulator", "platform")


def up(
    *,
    real: Annotated[
        bool, typer.Option("--real", help="Insist on the real platform; RUNWARE_API_KEY must be set.")
    ] = False,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of the API.")] = API_PORT,
    emulator_port: Annotated[
        int,
        typer.Option("--emulator-port", min=1, max=65535, help="Port of the emulator; jobs belong to it."),
    ] = EMULATOR_PORT,
    speed: Annotated[float, typer.Option("--speed", help="How much faster the emulator's tasks run.")] = 1.0,
    as_json: AsJson = False,
) -> int:
    """Run database, broker, worker and API until Ctrl-C; data is kept.

    Against the real platform when RUNWARE_API_KEY is set, else against the emulator.

    Example: runware-jobs up
    """
    settings = _own_settings()
    if real and settings.realm != "platform":
        raise typer.BadParameter("--real needs RUNWARE_API_KEY, and RUNWARE_JOBS_HTTP_BASE_URL unset")
    if settings.realm == "emulator" and not settings.is_platform:
        raise typer.BadParameter(
            "RUNWARE_JOBS_HTTP_BASE_URL is set, and `up` brings an emulator of its own: unset it, or run"
            " `runware-jobs worker` and `runware-jobs api`"
        )
    folder = settings.home / settings.realm
    with sole(folder) as place:
        if place is None:
            where = holder_of(folder).get("api")
            complain(
                f"It is running already{f' at {where}' if where else ''}. To stop it: Ctrl-C there, or runware-jobs down"
            )
            return FAILED
        if settings.realm == "emulator" and not is_free(emulator_port):
            # Not another port by itself: jobs belong to the account of a base URL, and
            # tomorrow's `up` would not find those of today.
            complain(
                f"Port {emulator_port} is taken: stop the emulator there, or give another --emulator-port"
            )
            return FAILED
        return _run(settings, place, port=port, emulator_port=emulator_port, speed=speed, as_json=as_json)


def down(*, as_json: AsJson = False) -> int:
    """Stop the embedded engines and whatever runs beside them; data is kept.

    Example: runware-jobs down
    """
    from runware_jobs import embedded  # noqa: PLC0415  loaded by commands that use it

    settings = settings_with()
    homes = (settings.home, settings.home / "demo")
    stopped = [
        str(home / realm) for home in homes for realm in REALMS if embedded.down(home, realm=_realm(realm))
    ]
    if as_json:
        print_json({"stopped": stopped})
    else:
        note(f"Stopped: {', '.join(stopped)}. The data is kept." if stopped else "Nothing was running.")
    return DONE


def _realm(name: str) -> Any:
    return name


def _own_settings() -> "Settings":
    given = settings_with()
    if given.database_url or given.broker_url:
        raise typer.BadParameter(
            "RUNWARE_JOBS_DATABASE_URL or RUNWARE_JOBS_BROKER_URL is set, and `up` brings its own: unset them,"
            " or run `runware-jobs worker` and `runware-jobs api` with yours"
        )
    return settings_with(embedded_idle_s=0.0)


def _run(
    settings: "Settings", place: Sole, *, port: int, emulator_port: int, speed: float, as_json: bool
) -> int:
    from runware_jobs.embedded import EngineFailed  # noqa: PLC0415  loaded by commands that use it

    stop = threading.Event()
    # SIGTERM too: a service manager or `docker stop` ends it as cleanly as Ctrl-C.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    note("Starting ...")
    state = settings.home.resolve() / settings.realm / "emulator.sqlite"
    with open_stage(
        settings,
        emulator_port=emulator_port,
        api_port=port,
        emulator_may_move=False,
        # Tasks of yesterday are known today, and their pictures still there.
        emulator_options=(f"--speed={speed}", f"--state={state}"),
    ) as stage:
        place.tell(api=stage.api_url)
        _tell(stage, as_json=as_json)
        while not stop.wait(_LOOK_EVERY_S):
            try:
                _look(stage)
            except EngineFailed:
                note("Stopped from elsewhere.")
                return DONE
        note("Stopping ...")
    note("Stopped. The data is kept.")
    return DONE


def _look(stage: Stage) -> None:
    """Raise EngineFailed when the supervisor is gone, ServiceFailed when a program of ours has ended."""
    from runware_jobs.embedded import EngineFailed, ServiceFailed, status  # noqa: PLC0415  as above

    known = status(stage.settings.home, realm=_realm(_realm_of(stage)))
    if known is None:
        raise EngineFailed("The engines were stopped.")
    names = {service["name"] for service in known["services"]}
    for name in ("worker", "api"):
        if name not in names:
            raise ServiceFailed(
                f"The {name} ended; see {stage.log_dir / name}.log", name=name, returncode=None
            )


def _realm_of(stage: Stage) -> str:
    return "emulator" if stage.emulator_url else "platform"


def _tell(stage: Stage, *, as_json: bool) -> None:
    from runware_jobs.assembly import masked  # noqa: PLC0415  loads the database

    left = left_behind(stage.services.database_url, base_url=stage.settings.http_base_url)
    addresses = {
        "api": stage.api_url,
        "dashboard": f"{stage.api_url}/",
        "emulator": f"{stage.emulator_url}/_emulator/" if stage.emulator_url else None,
        "platform": stage.settings.http_base_url,
        "database": masked(stage.services.database_url),
        "broker": masked(stage.services.broker_url),
        "logs": str(stage.log_dir),
    }
    if as_json:
        print_json_line({**addresses, "left": [asdict(check) for check in left]})
        return
    console = err()
    for name, address in addresses.items():
        if address is not None:
            console.print(f"  [bold]{name:<10}[/bold] {address}", soft_wrap=True)
    for check in left:
        console.print(
            f"\n[yellow]note[/yellow] {check.name}: {check.found}. To end them: {check.remedy}.",
            soft_wrap=True,
        )
    console.print(
        "\nFrom another terminal, in this folder:\n"
        "  [bold]runware-jobs run 'a lighthouse at dusk' --model runware:400@1 --size 1024x1024[/bold]\n"
        "  [bold]runware-jobs batch submit prompts.txt --model runware:400@1 --size 1024x1024[/bold]\n"
        "\n[dim]Ctrl-C stops everything.[/dim]",
        soft_wrap=True,
    )
