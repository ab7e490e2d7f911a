"""The tables: every way with its ratio to ours, and what DESIGN asks for beside what was reached."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from .measuring import KillRow, Row

OURS = "ours"


@dataclass(frozen=True, slots=True)
class Target:
    """What was to be reached, and what was; lower is better in all of them."""

    measure: str
    wanted: float
    reached: float

    @property
    def is_met(self) -> bool:
        return self.reached <= self.wanted


def show_rows(console: Console, title: str, rows: Sequence[Row]) -> None:
    """Print one workload: bare figures, and in brackets how many times ours that is."""
    table = Table(title=title, title_justify="left")
    table.add_column("way", no_wrap=True)
    for head in (
        "wall\ns", "times\nours", "msgs\nper job", "ready to\nknown, s\nmedian","\n\np95", "CPU s\nper 1,000",
        "times\nours", "peak\nMB", "in\nflight", "PG, Redis\nCPU s", "emul.\nCPU s",
    ):  # fmt: skip
        table.add_column(head, justify="right")
    base = next((row for row in rows if row.name.startswith(OURS)), rows[0])
    for row in rows:
        table.add_row(
            row.name,
            f"{'~' if row.is_scaled else ''}{row.wall_s:.1f}",
            ratio(row.wall_s, base.wall_s),
            f"{row.messages_per_job:.2f}",
            f"{row.lag_median_s:.2f}",
            f"{row.lag_p95_s:.2f}",
            f"{row.cpu_s_per_1000:.2f}",
            ratio(row.cpu_s_per_1000, base.cpu_s_per_1000),
            f"{row.peak_mb:.0f}",
            f"{row.in_flight:,}",
            f"{row.engines_cpu_s_per_1000:.2f}",
            f"{row.emulator_cpu_s_per_1000:.2f}",
        )
    console.print(table)


def ratio(value: float, ours: float) -> str:
    """Say how many times ours a figure is."""
    return f"{value / ours:.1f}" if ours else "-"


def show_kills(console: Console, rows: Sequence[KillRow]) -> None:
    """Print what the kill has cost."""
    table = Table(title="Worker killed (-9) at 40 % and started again at once", title_justify="left")
    table.add_column("way", no_wrap=True)
    for head in ("jobs", "lost, or not\nback in 5 min", "billed twice", "last known\nafter s"):
        table.add_column(head, justify="right")
    for row in rows:
        table.add_row(row.name, f"{row.jobs:,}", str(row.lost), str(row.billed_twice), f"{row.wall_s:.1f}")
    console.print(table)


def targets_of(results: dict[str, list[Row]], kills: Sequence[KillRow]) -> list[Target]:
    """Compare our first row of each workload with what DESIGN 9 wants; what was not run is left out."""
    found: list[Target] = []
    limits = {"A": (0.25, 0.5), "B": (0.3, 0.6)}
    for name, rows in results.items():
        ours = next((row for row in rows if row.name.startswith(OURS)), None)
        if ours is None:
            continue
        if name in limits:
            peers = [row.wall_s for row in rows if not row.name.startswith(OURS)]
            median, p95 = limits[name]
            single = [row for row in rows if row.name.startswith(f"{OURS}, 1")]
            for row in single or [ours]:
                title = f"{name} ({row.name})" if len(single) > 1 else name
                found += [
                    Target(f"{title}: messages per job", 0.15, row.messages_per_job),
                    Target(f"{title}: ready to known, median s", median, row.lag_median_s),
                    Target(f"{title}: ready to known, p95 s", p95, row.lag_p95_s),
                ]
            if name == "A":
                found.append(Target("A: worker CPU s per 1,000 jobs", 1.2, ours.cpu_s_per_1000))
                if peers:
                    found.append(
                        Target("A: wall, of the best peer's", 0.5, round(ours.wall_s / min(peers), 2))
                    )
        else:
            found.append(Target(f"{name}: peak MB, {ours.in_flight:,} in flight", 400, ours.peak_mb))
    for kill in kills:
        if kill.name.startswith(OURS):
            found += [
                Target("killed: lost", 0, kill.lost),
                Target("killed: billed twice", 0, kill.billed_twice),
            ]
    return found


def show_targets(console: Console, targets: Sequence[Target]) -> None:
    """Print each with whether it is met."""
    table = Table(title="Targets (DESIGN 9)", title_justify="left")
    table.add_column("measure", no_wrap=True)
    for head in ("at most", "reached", ""):
        table.add_column(head, justify="right")
    for target in targets:
        table.add_row(
            target.measure, f"{target.wanted:g}", f"{target.reached:g}", "met" if target.is_met else "missed"
        )
    console.print(table)


def as_plain(
    results: dict[str, list[Row]], kills: Sequence[KillRow], targets: Sequence[Target]
) -> dict[str, Any]:
    """Everything for machines."""
    return {
        "workloads": {name: [asdict(row) for row in rows] for name, rows in results.items()},
        "killed": [asdict(row) for row in kills],
        "targets": [asdict(target) | {"is_met": target.is_met} for target in targets],
    }
