"""The items of one task as they come in: which are final, which are new, when all are there.

Pure. A poll answers with the cumulative state, a pushed result only with what is new; both end
in the same ordered list.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runware_jobs.client.wire.envelope import Item

_PAYLOAD_KEYS = frozenset({"text", "structuredData", "outputs", "air", "result"})
_PAYLOAD_ENDINGS = ("URL", "Base64Data", "DataURI")


class ItemState(Enum):
    """What one item says of itself."""

    PROCESSING = auto()
    SUCCESS = auto()
    ERROR = auto()


def item_state(item: Mapping[str, Any]) -> ItemState:
    """Judge one item. A status that is not known is not final; without a status the payload decides.

    A media UUID alone says nothing: items under way may carry one already (PROTOCOL 3.3).
    """
    status = item.get("status")
    if status == "success":
        return ItemState.SUCCESS
    if status == "error":
        return ItemState.ERROR
    if status is not None:
        return ItemState.PROCESSING
    has_payload = any(
        value is not None and (key in _PAYLOAD_KEYS or key.endswith(_PAYLOAD_ENDINGS))
        for key, value in item.items()
    )
    return ItemState.SUCCESS if has_payload else ItemState.PROCESSING


def expected_items(params: Mapping[str, Any]) -> int:
    """How many items a task ends with; what is not a positive number counts as one."""
    name = "promptVersions" if params.get("taskType") == "promptEnhance" else "numberResults"
    count = params.get(name, 1)
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 1


class ResultSet:
    """The items of one task. Feed it polls or pushes; each tells what is new."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self._items: dict[tuple[str, Any], Item] = {}
        self._progress: dict[tuple[str, Any], Any] = {}
        self._positions: dict[tuple[str, Any], int] = {}
        self._pushed = 0
        self.has_processing = False

    def poll(self, items: Iterable[Item]) -> tuple[list[Item], list[Item]]:
        """Take the cumulative state; give (newly final items, items whose progress changed)."""
        return self._take(items, first_position=0)

    def push(self, items: Iterable[Item]) -> tuple[list[Item], list[Item]]:
        """Take items that were not there before; give the same as `poll`."""
        arrived = list(items)
        first_position = self._pushed
        self._pushed += sum(item_state(item) is not ItemState.PROCESSING for item in arrived)
        return self._take(arrived, first_position=first_position)

    @property
    def successes(self) -> list[Item]:
        """The successful items in the platform's order."""
        return [item for item in self._ordered() if item_state(item) is ItemState.SUCCESS]

    @property
    def failures(self) -> list[Item]:
        """The failed items in the platform's order."""
        return [item for item in self._ordered() if item_state(item) is ItemState.ERROR]

    @property
    def is_complete(self) -> bool:
        """Whether nothing more will come.

        A task that failed as a whole may report one error for all of its results, so with an error
        and nothing under way the count does not matter.
        """
        if len(self._items) >= self.expected:
            return True
        return bool(self.failures) and not self.has_processing

    def _take(self, items: Iterable[Item], *, first_position: int) -> tuple[list[Item], list[Item]]:
        final: list[Item] = []
        moved: list[Item] = []
        self.has_processing = False
        position = first_position
        for item in items:
            key = _key(item, position)
            if item_state(item) is ItemState.PROCESSING:
                self.has_processing = True
                progress = item.get("progress")
                if progress is not None and self._progress.get(key) != progress:
                    self._progress[key] = progress
                    moved.append(item)
            else:
                self._positions[key] = position
                if key not in self._items:
                    final.append(item)
                self._items[key] = item
            position += 1
        return final, moved

    def _ordered(self) -> list[Item]:
        return [self._items[key] for key in sorted(self._items, key=self._order)]

    def _order(self, key: tuple[str, Any]) -> tuple[int, int]:
        index = key[1] if key[0] == "resultIndex" else self._positions[key]
        return index, self._positions[key]


def identity_of(item: Item) -> tuple[str, Any] | None:
    """Name an item by its index, else by the UUID of its medium; None when it carries neither."""
    index = item.get("resultIndex")
    if isinstance(index, int) and not isinstance(index, bool):
        return "resultIndex", index
    for name in _MEDIA_UUIDS:
        media_uuid = item.get(name)
        if isinstance(media_uuid, str) and media_uuid:
            return name, media_uuid
    return None


def _key(item: Item, position: int) -> tuple[str, Any]:
    """Name an item by what it says of itself, else by its place in the answer.

    Texts have neither index nor UUID of their own; the task's UUID would make one of them all.
    """
    return identity_of(item) or ("position", position)


_MEDIA_UUIDS = ("imageUUID", "videoUUID", "audioUUID", "mediaUUID", "maskImageUUID", "guideImageUUID")
