"""What the command line shows: the banner, and the lists of switches and faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from .faults.actions import READY_MADE, action_table
from .switches import switch_table

if TYPE_CHECKING:
    from .config import Config


def switch_list() -> str:
    """Every switch in two lines: how it is set, and what it chooses."""
    return "\n".join(
        f"[bold]{row['name']}[/bold]={_word(row['default'])}  [dim]{row['choices']}; {row['source']}[/dim]\n"
        f"    {escape(row['what'])}"
        for row in switch_table()
    )


def fault_list() -> str:
    """Every action in two lines, then the ready-made rules in one each."""
    actions = (
        f"[bold]{row['kind']}[/bold]  [dim]on {', '.join(row['on'])}[/dim]  "
        + escape(", ".join(f"{name}={_word(default)}" for name, default in row["fields"].items()))
        + f"\n    {escape(row['what'])}"
        for row in action_table()
    )
    ready_made = (
        f"[bold]{name}[/bold]  {escape(orjson.dumps(rule).decode())}" for name, rule in READY_MADE.items()
    )
    return "\n".join([*actions, "\nReady-made, by name:", *ready_made])


def _word(value: Any) -> str:
    return orjson.dumps(value).decode().strip('"')


def banner(config: Config, address: str) -> Panel:
    """Where it listens, and how it is set."""
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
    if config.faults:
        rows["Faults"] = f"{len(config.faults)} in force"
    for name, value in rows.items():
        table.add_row(f"[dim]{name}[/dim]", value)
    return Panel(
        table, title="Runware emulator", subtitle="Ctrl+C stops it", expand=False, border_style="cyan"
    )
