"""How the play looks while it runs: bars on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from decimal import Decimal

    from rich.console import Console
    from rich.live import Live
    from rich.progress import Progress, TaskID

_LINE_EVERY_S: Final = 2.0
_WORDS: Final = {
    "scheduled": "waits",
    "queued": "waits",
    "submitting": "is sent",
    "running": "runs",
    "succeeded": "done",
    "failed": "failed",
    "canceled": "canceled",
}
_FINAL: Final = ("succeeded", "failed", "canceled")


@dataclass(frozen=True, slots=True)
class Single:
    """A single job at one moment; percents as the platform tells and as we expect, None: not known."""

    state: str
    told: int | None = None
    expected: int | None = None

    @property
    def percent(self) -> int | None:
        """How far to draw the bar."""
        if self.state != "running":
            return 100 if self.state == "succeeded" else 0
        return self.expected if self.told is None else self.told

    def in_words(self) -> str:
        """Say it in a word, with a tilde where we only expect it."""
        if self.state != "running" or self.percent is None:
            return _WORDS[self.state]
        return f"~{self.percent} %" if self.told is None else f"{self.percent} %"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The play at one moment; `singles` by kind."""

    seconds: float
    finished: int
    total: int
    failed: int
    singles: Mapping[str, Single]
    ended: int
    saved: int
    cost_usd: Decimal

    @property
    def is_over(self) -> bool:
        """True when nothing is left to wait for."""
        return self.finished == self.total and all(one.state in _FINAL for one in self.singles.values())

    def totals(self) -> str:
        """Put the totals into one line."""
        rate = self.ended / max(self.seconds, 0.1)
        text = f"{self.ended} done, {rate:.1f} jobs/s, {self.saved} files saved, ${self.cost_usd:.4f}"
        return f"{text}, {self.failed} failed" if self.failed else text


class Display(Protocol):
    """Something that shows looks."""

    def show(self, look: Look) -> None:
        """Show how far the play is."""


@contextmanager
def open_display(console: Console) -> Iterator[Display]:
    """Open bars where `console` is a terminal, and lines where it is none."""
    if not console.is_terminal:
        yield Lines(console)
        return
    from rich.live import Live  # noqa: PLC0415  only on a terminal

    with Live(console=console, refresh_per_second=12) as live:
        yield Bars(live)


class Lines:
    """A line every few seconds, without colours: for a build server's log."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said_at = float("-inf")
        self._was_over = False

    def show(self, look: Look) -> None:
        """Print a line when the last one is old, or when all is over."""
        if look.seconds - self._said_at < _LINE_EVERY_S and not (look.is_over and not self._was_over):
            return
        self._said_at, self._was_over = look.seconds, look.is_over
        singles = "  ".join(f"{kind} {one.in_words()}" for kind, one in look.singles.items())
        line = f"{look.seconds:5.1f} s  pictures {look.finished}/{look.total}  {singles}  {look.totals()}"
        self._console.print(line, soft_wrap=True)


class Bars:
    """A bar for the batch and for each single job, and the totals below."""

    def __init__(self, live: Live) -> None:
        from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415  only on a terminal

        self._live = live
        self._progress: Progress = Progress(
            TextColumn("[bold]{task.description:<9}"),
            BarColumn(bar_width=36, complete_style="cyan", finished_style="green"),
            TextColumn("{task.fields[share]:>8}"),
            console=live.console,
        )
        self._tasks: dict[str, TaskID] = {}

    def show(self, look: Look) -> None:
        """Redraw."""
        from rich.console import Group  # noqa: PLC0415  only on a terminal
        from rich.padding import Padding  # noqa: PLC0415  the same
        from rich.text import Text  # noqa: PLC0415  the same

        self._bar("pictures", look.finished, look.total, f"{look.finished}/{look.total}")
        for kind, one in look.singles.items():
            self._bar(kind, one.percent or 0, None if one.percent is None else 100, one.in_words())
        totals = Text(f"{look.seconds:.1f} s   {look.totals()}", style="red" if look.failed else "dim")
        self._live.update(Group(self._progress, Padding(totals, (1, 0, 0, 0))))

    def _bar(self, name: str, completed: float, total: float | None, share: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, share=share)
        self._progress.update(self._tasks[name], completed=completed, total=total, share=share)
