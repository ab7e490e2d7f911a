"""`worker`, `api`, `emulator` and `migrate`: one process each, in the foreground."""

import os
from enum import StrEnum
from typing import Annotated

import typer

from .opening import open_services
from .terminal import DONE, AsJson, note, print_json

API_PORT = 9400


class Pool(StrEnum):
    """How a worker runs Celery's own tasks; the queue's work is on one event loop in any case."""

    THREADS = "threads"
    PREFORK = "prefork"
    SOLO = "solo"


def worker(
    *,
    pool: Annotated[
        Pool | None, typer.Option("--pool", help="Otherwise RUNWARE_JOBS_POOL, which is threads.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", min=1, help="Threads or processes for Celery's own tasks.")
    ] = None,
    loglevel: Annotated[str, typer.Option("--loglevel", help="DEBUG, INFO, WARNING or ERROR.")] = "INFO",
) -> int:
    """Run a worker: it submits, polls and tells what happened. Ctrl-C gives back what it holds.

    Example: runware-jobs worker --pool threads
    """
    if pool is not None:
        # Celery decides about its pool before a command line could: it reads our settings.
        os.environ["RUNWARE_JOBS_POOL"] = pool.value
    from runware_jobs.platform_access import require_key  # noqa: PLC0415  loads the database

    settings, _ = open_services()
    require_key(settings)
    from runware_jobs.worker import app  # noqa: PLC0415  loads Celery, and reads the settings set above

    argv = ["worker", f"--loglevel={loglevel}", "--without-gossip", "--without-mingle"]
    if concurrency is not None:
        argv.append(f"--concurrency={concurrency}")
    app.worker_main(argv)
    return DONE


def api(
    *,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; beyond loopback it needs a key.")
    ] = ("127.0.0.1"),
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")
    ] = API_PORT,
) -> int:
    """Serve the HTTP API, its live streams and the dashboard.

    Example: runware-jobs api --port 9400
    """
    from runware_jobs.logs import configure_logs  # noqa: PLC0415  loaded by commands that use it
    from runware_jobs.settings import Settings  # noqa: PLC0415  the same
    from runware_jobs.web import serve  # noqa: PLC0415  loads FastAPI

    configure_logs()
    serve(Settings(), host, port)
    return DONE


def emulator(context: typer.Context) -> int:
    """Emulate the Runware platform on this machine: protocol, pictures, faults and a ledger.

    Example: runware-jobs emulator --port 9300 --speed 60
    """
    from runware_jobs.emulator.cli import application  # noqa: PLC0415  loads a web server, an image library

    code = application()(args=context.args, prog_name="runware-jobs emulator", standalone_mode=False)
    return int(code or DONE)


def migrate(
    revision: Annotated[str, typer.Argument(help="The revision to go to.")] = "head",
    *,
    as_json: AsJson = False,
) -> int:
    """Bring the database's schema up to date; safe to run twice, and while workers run.

    Example: runware-jobs migrate
    """
    from runware_jobs.assembly import find_services, masked  # noqa: PLC0415  loads the database
    from runware_jobs.settings import Settings  # noqa: PLC0415  the same
    from runware_jobs.store.database import migrate as bring_to  # noqa: PLC0415  the same

    services = find_services(Settings())
    before, after = bring_to(services.database_url, revision)
    if as_json:
        print_json({"before": before, "after": after, "database": masked(services.database_url)})
    elif before == after:
        note(f"{masked(services.database_url)} is at {after} already.")
    else:
        note(f"{masked(services.database_url)}: {before or 'empty'} -> {after or 'empty'}")
    return DONE
