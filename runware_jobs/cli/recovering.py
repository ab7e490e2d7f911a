"""`recover --since TIME`: after a database restore, settle everything that could have been sent since the copy."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from .asking import with_platform
from .terminal import DONE, FAILED, AsJson, err, note, print_json

if TYPE_CHECKING:
    from runware_jobs.steps.context import Context
    from runware_jobs.steps.recover import Recovered

_SHOWN: Final = 20


def recover(
    *,
    since: Annotated[
        str,
        typer.Option(
            "--since", metavar="TIME", help="When the copy was made, or earlier: 2026-11-21T09:30, in UTC."
        ),
    ],
    send_unknown: Annotated[
        bool,
        typer.Option("--send-unknown", help="Send what nobody knows even if the copy is older than a day."),
    ] = False,
    patience: Annotated[
        float,
        typer.Option(
            "--patience",
            min=1,
            metavar="SECONDS",
            help="Give up when nothing has been answered for so long; nothing is lost by it.",
        ),
    ] = 300.0,
    as_json: AsJson = False,
) -> int:
    """After a database restore: ask the platform what was sent since the copy, before anything is sent again.

    Stop all workers, restore, run this, start the workers. Meanwhile the account is paused; it stays so where a
    person had paused it, when this is interrupted, and when the platform gives no more answers: then run it again. What was sent is followed to its end under
    its own task UUID and not paid again. Jobs enqueued after the copy are gone, and so is every cancel and retry.

    Example: runware-jobs recover --since 2026-11-21T09:30
    """
    copied_at = _read_time(since)

    async def work(context: "Context") -> int:
        from rich.progress import Progress  # noqa: PLC0415  only where something is shown

        from runware_jobs.steps.recover import recover  # noqa: PLC0415  loads the database

        with Progress(console=err(), transient=True, disable=not err().is_terminal) as progress:
            bar = progress.add_task("Asking", total=None)

            def told(seen: "Recovered") -> None:
                waiting = f" ({seen.unanswered} without an answer yet)" if seen.unanswered else ""
                progress.update(
                    bar, description=f"Asking{waiting}", completed=seen.asked, total=max(seen.to_ask, 1)
                )

            seen = await recover(
                context, since=copied_at, sends_unknown=send_unknown, told=told, patience_s=patience
            )
        if as_json:
            print_json(asdict(seen))
        else:
            _tell(seen)
        return DONE if seen.is_resumed else FAILED

    return with_platform(work)


def _read_time(since: str) -> datetime:
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        raise typer.BadParameter(f"--since {since} is no time such as 2026-11-21T09:30") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment > datetime.now(UTC):
        raise typer.BadParameter(f"--since {since} has not come yet: times are in UTC")
    return moment


def _tell(seen: "Recovered") -> None:
    note(
        f"{seen.asked} queued jobs were asked about: {seen.found} had been sent since the copy and are followed."
        f" {seen.open_at_copy} tasks were under way in the copy."
    )
    if seen.held:
        note(
            f"{seen.held} may have been sent so long ago that nobody can tell. They are held:"
            " [bold]runware-jobs unclear list[/bold]"
        )
    note(
        "What was enqueued after the copy is gone: have it enqueued again. It has new ids unless its producer gave"
        " them (Celery's task id), so what was sent of it will be paid twice."
    )
    if seen.unanswered_jobs:
        _tell_unanswered(seen)
    elif not seen.is_resumed:
        note("[yellow]The account stays paused[/yellow], as it was: [bold]runware-jobs account resume[/bold]")


def _tell_unanswered(seen: "Recovered") -> None:
    jobs = [str(job_id) for job_id in seen.unanswered_jobs]
    more = f" and {len(jobs) - _SHOWN} more (all: --json)" if len(jobs) > _SHOWN else ""
    note(
        f"[yellow]Of {len(jobs)} jobs the platform or its archive said nothing[/yellow]: {', '.join(jobs[:_SHOWN])}{more}."
    )
    note(
        "The account stays paused, and what was found is kept. When [bold]runware-jobs doctor[/bold] reaches the"
        " platform, run this again. To go on without: [bold]runware-jobs account resume[/bold]; then those of these"
        " jobs that are queued are sent under the task UUID that they had, and may be paid twice."
    )
