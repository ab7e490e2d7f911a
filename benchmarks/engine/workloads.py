"""What is to be done: tasks by number, and how long the platform takes for one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_PROMPT = "a lighthouse at dusk, number "


@dataclass(frozen=True, slots=True)
class Workload:
    """Tasks of one kind; `seconds` is how long the platform takes: a number, or [least, most]."""

    name: str
    lane: str
    task: dict[str, Any]
    seconds: Any
    jobs: int

    def of(self, jobs: int) -> Workload:
        """Give the same with another number of tasks."""
        return replace(self, jobs=jobs)

    def tasks(self) -> list[dict[str, Any]]:
        """Give every task, each with words of its own that say its number."""
        return [{**self.task, "positivePrompt": f"{_PROMPT}{number}"} for number in range(self.jobs)]

    @property
    def latencies(self) -> dict[str, Any]:
        """What the emulator is told."""
        return {self.lane: self.seconds}


def number_of(prompt: str) -> int:
    """Say which task a prompt belongs to."""
    return int(prompt.removeprefix(_PROMPT))


def numbers_by_task(tasks: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Say which task each task UUID of the platform's was for."""
    return {task["taskUUID"]: number_of(task["prompt"]) for task in tasks}


_IMAGE = {"taskType": "imageInference", "model": "runware:400@1", "width": 1024, "height": 1024}
_VIDEO = {"taskType": "videoInference", "model": "google:3@3", "width": 1280, "height": 720}

IMAGES = Workload("A: images of 1 to 3 s", "image", _IMAGE, [1, 3], 2_000)
VIDEOS = Workload("B: videos of 30 s", "video", _VIDEO, 30, 200)
MANY = Workload("C: videos of 60 s, all at once", "video", _VIDEO, 60, 10_000)
