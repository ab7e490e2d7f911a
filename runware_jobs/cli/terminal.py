"""What the command line says and where: results on stdout, the rest on stderr, JSON for machines."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

DONE: Final = 0
FAILED: Final = 1
WRONG_USE: Final = 2
INTERRUPTED: Final = 130

_PIPE_WIDTH: Final = 132

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]

STATE_STYLES: Final = {
    "scheduled": "cyan",
    "queued": "cyan",
    "submitting": "blue",
    "running": "blue",
    "succeeded": "green",
    "completed": "green",
    "open": "green",
    "failed": "red",
    "paused": "yellow",
    "canceled": "yellow",
}


def new_app(help_text: str) -> typer.Typer:
    """Make a group of commands."""
    return typer.Typer(
        help=help_text,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="rich",
        # An unexpected error is a bug: its traceback is for us, plain and whole.
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def out() -> Console:
    """Open the console for results."""
    from rich.console import Console  # noqa: PLC0415  only where something is shown

    console = Console(highlight=False)
    if not console.is_terminal:
        # Nobody's window: whoever reads a pipe wants whole lines.
        console.width = _PIPE_WIDTH
    return console


def err() -> Console:
    """Open the console for everything that is no result."""
    from rich.console import Console  # noqa: PLC0415  only where something is shown

    return Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """Print one value as indented JSON; money stays a string."""
    import orjson  # noqa: PLC0415  only where JSON is asked for

    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    _write(orjson.dumps(value, default=str, option=options))


def print_json_line(value: Any) -> None:
    """Print one value as a line of JSONL, at once."""
    import orjson  # noqa: PLC0415  only where JSON is asked for

    _write(orjson.dumps(value, default=str, option=orjson.OPT_APPEND_NEWLINE))


def _write(text: bytes) -> None:
    sys.stdout.write(text.decode())
    sys.stdout.flush()


def note(text: str) -> None:
    """Tell a person something that is no result; may carry rich markup."""
    err().print(text, soft_wrap=True)


def complain(message: str) -> None:
    """Say what is wrong, in one line on stderr."""
    from rich.markup import escape  # noqa: PLC0415  only where something is wrong

    line = " ".join(message.split())
    err().print(f"[red]Error:[/red] {escape(line)}", soft_wrap=True)


def new_table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """Make a table without a box around it; columns named in `right` hold numbers."""
    from rich import box  # noqa: PLC0415  only where something is shown
    from rich.table import Table  # noqa: PLC0415  only where something is shown

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def state_text(state: str) -> str:
    """Colour a state's name."""
    style = STATE_STYLES.get(state)
    return f"[{style}]{state}[/{style}]" if style else state


def dollars_text(amount: Decimal | str | None) -> str:
    """Show an amount of dollars; a dash where it is not known."""
    return "-" if amount is None else f"${Decimal(amount):.4f}"


def seconds_between(start: str | None, end: str | None) -> float | None:
    """Measure between two instants as views show them; None when one is missing."""
    if start is None or end is None:
        return None
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def seconds_text(seconds: float | None) -> str:
    """Show a duration; a dash where it is not known."""
    return "-" if seconds is None else f"{seconds:.1f} s"


def age_text(moment: datetime | None) -> str:
    """Show how long ago an instant was, roughly."""
    if moment is None:
        return "-"
    seconds = max((datetime.now(UTC) - moment).total_seconds(), 0)
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def moment_text(moment: str | datetime | None) -> str:
    """Show an instant in the reader's own time zone."""
    if moment is None:
        return "-"
    instant = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return f"{instant.astimezone():%Y-%m-%d %H:%M:%S}"
