"""What is measured: a way to get tasks done, behind one face, whoever made it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psutil

    from .workloads import Workload


@dataclass(frozen=True, slots=True)
class Known:
    """A task whose result the user's side has, since `known_at` (unix seconds)."""

    number: int
    task_uuid: str
    known_at: float


class Contender(Protocol):
    """One way. `share` is the part of a workload that it is given, where the whole would take too long;
    `patience_s` is how long after a kill -9 nothing new may be known before the rest counts as lost.
    """

    share: float
    patience_s: float

    @property
    def name(self) -> str:
        """What the tables call it."""

    def start(self, workload: Workload) -> None:
        """Start over with nothing known; returns when it is ready to work."""

    def begin(self) -> float:
        """Hand over the tasks of the workload; gives the unix time at which that began."""

    @property
    def processes(self) -> Sequence[psutil.Process]:
        """The processes that work, by the root of each tree."""

    def count(self) -> int:
        """Count the tasks whose result is known."""

    def known(self) -> list[Known]:
        """Name them, each once."""

    def kill_and_restart(self) -> None:
        """Kill -9 whatever works and start it again at once."""

    def stop(self) -> None:
        """End what runs."""
