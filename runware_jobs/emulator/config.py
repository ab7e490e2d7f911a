"""What is set about the emulator once, at its start.

Task durations and the ttl of files are given in platform seconds and divided by `speed`. Protocol times
(idle close, replay window, webhook deadlines, retention) are real seconds whatever the speed: clients keep
their own real-time timers against them. A test that wants them shorter sets their switch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from .latencies import DEFAULT_LATENCIES, Latency
from .switches import ConfigError, Switches

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Config:
    """Everything known at start. `port` 0 picks a free one; `public_url` None means the Host asked for.

    Raises ConfigError, naming the field.
    """

    host: str = "127.0.0.1"
    port: int = 9300
    speed: float = 1.0
    seed: int = 1
    balance_usd: str = "25000"
    """What every organisation starts with."""
    state_path: Path | None = None
    """None keeps everything in memory only."""
    public_url: str | None = None
    registry_path: Path | None = None
    """None means the registry shipped beside the emulator; a missing file means a short built-in one."""
    latencies: Mapping[str, Latency] = field(default_factory=lambda: DEFAULT_LATENCIES)
    switches: Switches = field(default_factory=Switches)
    faults: tuple[Any, ...] = ()
    """Fault rules as JSON has them, or the names of ready-made ones."""

    def __post_init__(self) -> None:
        if not self.speed > 0:
            raise ConfigError(
                f"speed: {self.speed} is not above 0; 1 is real time, 60 makes a minute a second"
            )
        try:
            is_amount = Decimal(self.balance_usd) >= 0
        except InvalidOperation:
            is_amount = False
        if not is_amount:
            raise ConfigError(f"balance: {self.balance_usd!r} is no amount of dollars; example: 25.50")
