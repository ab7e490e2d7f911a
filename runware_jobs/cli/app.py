"""The application: every command under its name, and every error as one readable line."""

import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from . import (
    account_commands,
    batch_commands,
    doctor,
    job_commands,
    key_commands,
    lanes_commands,
    producing,
    recovering,
    serving,
    tenant_commands,
    unclear_commands,
    up,
    upkeep_commands,
    webhook_commands,
)
from .demo import command as demo
from .terminal import DONE, FAILED, WRONG_USE, complain, new_app


def _version(asked: bool) -> None:
    if asked:
        from runware_jobs import __version__  # noqa: PLC0415  reads the package's metadata

        typer.echo(f"runware-jobs {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """A durable job queue for the Runware media platform.

    Start here: [bold]runware-jobs demo[/bold]
    """


def build() -> typer.Typer:
    """Put the commands together; heavy rooms are loaded by the commands themselves."""
    app = new_app("")
    app.callback()(_root)
    start, queue, operate = "Start", "Use the queue", "Operate"
    app.command("demo", rich_help_panel=start)(demo.demo)
    app.command("up", rich_help_panel=start)(up.up)
    app.command("down", rich_help_panel=start)(up.down)
    app.command("run", rich_help_panel=queue)(producing.run)
    app.command("upload", rich_help_panel=queue)(producing.upload)
    app.command("train", rich_help_panel=queue)(producing.train)
    app.add_typer(job_commands.app, name="jobs", rich_help_panel=queue)
    app.add_typer(batch_commands.app, name="batch", rich_help_panel=queue)
    app.command("worker", rich_help_panel=operate)(serving.worker)
    app.command("api", rich_help_panel=operate)(serving.api)
    app.command(
        "emulator",
        rich_help_panel=operate,
        # Its own parser reads the options: they are told in one place.
        context_settings={
            "allow_extra_args": True,
            "ignore_unknown_options": True,
            "help_option_names": [],
        },
    )(serving.emulator)
    app.command("migrate", rich_help_panel=operate)(serving.migrate)
    app.command("doctor", rich_help_panel=operate)(doctor.doctor)
    app.command("prune", rich_help_panel=operate)(upkeep_commands.prune)
    app.command("recover", rich_help_panel=operate)(recovering.recover)
    app.add_typer(unclear_commands.app, name="unclear", rich_help_panel=operate)
    app.add_typer(webhook_commands.app, name="webhooks", rich_help_panel=operate)
    app.add_typer(key_commands.app, name="keys", rich_help_panel=operate)
    app.add_typer(account_commands.app, name="account", rich_help_panel=operate)
    app.add_typer(lanes_commands.app, name="lanes", rich_help_panel=operate)
    app.add_typer(tenant_commands.app, name="tenants", rich_help_panel=operate)
    return app


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command and end the process: 0 done, 1 failed, 2 wrong use, 130 interrupted."""
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str]) -> int:
    """Run one command and return its exit code; errors are told on stderr in one line."""
    try:
        code = build()(args=list(argv), prog_name="runware-jobs", standalone_mode=False)
    except typer.TyperException as error:
        message = error.format_message().removeprefix("Invalid value: ")
        if message:  # no message: a group without a command, whose help is already on the screen
            context = getattr(error, "ctx", None)
            asked = context.command_path if context else "runware-jobs"
            complain(f"{message.rstrip('.')}. See: {asked} --help")
        return WRONG_USE if error.exit_code == WRONG_USE else FAILED
    except typer.Abort:
        complain("There was nobody to answer the question; nothing was done.")
        return FAILED
    except BrokenPipeError:
        # Whoever read us (head, less) has seen enough; Python would complain while closing stdout.
        sys.stderr.close()
        return DONE
    except Exception as error:
        told = _explain(error)
        if told is None:
            raise
        message, code = told
        complain(message)
    return int(code or DONE)


def _explain(error: Exception) -> tuple[str, int] | None:
    """Put an error of ours into words and an exit code; None for a bug, which keeps its traceback."""
    from runware_jobs.client import RunwareError  # noqa: PLC0415  only when something went wrong
    from runware_jobs.embedded import EmbeddedError  # noqa: PLC0415  the same
    from runware_jobs.errors import RunwareJobsError  # noqa: PLC0415  the same
    from runware_jobs.store.database import is_unreachable  # noqa: PLC0415  the same

    if isinstance(error, RunwareJobsError):
        # What was asked for is wrong, or it went wrong.
        return error.message, WRONG_USE if error.code in {"validation", "notFound"} else FAILED
    if isinstance(error, RunwareError):
        return error.message, FAILED
    if isinstance(error, EmbeddedError):
        # What follows the first line is the end of a log, which that line names.
        return str(error).partition("\n")[0], FAILED
    if is_unreachable(error):
        return "The database does not answer. See: runware-jobs doctor", FAILED
    return None
