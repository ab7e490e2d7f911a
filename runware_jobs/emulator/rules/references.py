"""The UUIDs of media that a request refers to: do they exist, and do they belong to whoever asks?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runware_jobs.emulator.errors import Refusal
from runware_jobs.emulator.identifiers import is_uuid_v4

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runware_jobs.emulator.accounts import Account
    from runware_jobs.emulator.protocol import Platform
    from runware_jobs.emulator.tasks import Task

# Parameters that take media, in present and older spelling.
_TAKE_MEDIA = (
    "inputs",
    "inputImage",
    "inputImages",
    "inputVideo",
    "seedImage",
    "maskImage",
    "referenceImages",
    "referenceVideos",
    "frameImages",
    "controlNet",
    "ipAdapters",
)


def check_references(task: Mapping[str, Any], platform: Platform, account: Account) -> Refusal | None:
    """The refusal for the first UUID behind which the account has no media (any more), or None."""
    for name in _TAKE_MEDIA:
        if name in task:
            for parameter, uuid in _uuids(name, task[name]):
                if not _exists(uuid, platform, account):
                    return Refusal("mediaNotFound", f"No media with UUID '{uuid}' was found.", parameter)
    return None


def _uuids(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every UUID in a value with its dotted path."""
    match value:
        case str() if is_uuid_v4(value):
            yield path, value
        case list():
            for index, one in enumerate(value):
                yield from _uuids(f"{path}.{index}", one)
        case dict():
            for name, one in value.items():
                yield from _uuids(f"{path}.{name}", one)


def _exists(uuid: str, platform: Platform, account: Account) -> bool:
    media = platform.media.get(uuid)
    if media is not None:
        return media.account == account.organization_uuid
    found = platform.items.get(uuid)
    if found is None:
        return False
    task, index = found
    return task.account == account.organization_uuid and not is_gone(task, index, platform)


def is_gone(task: Task, index: int, platform: Platform) -> bool:
    """Whether the time to live of an item's file is over. It is counted in platform seconds."""
    if task.ttl_s is None:
        return False
    return task.finish_at[index] + task.ttl_s / platform.config.speed <= platform.clock.now_s()
