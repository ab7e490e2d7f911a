"""What an answer of the platform says about one task: results, progress, completeness.

Both failure forms of PROTOCOL 3.3 are read here, items are told apart by
`resultIndex`, else media UUID, else their place in the complete answer, and a
status nobody knows counts as not yet terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, assert_never

from .callbacks import without_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Classify = Callable[[Mapping[str, Any]], "JobError"]

_NOT_THE_MEDIA: Final = frozenset({"taskUUID", "inputImageUUID", "inputVideoUUID", "connectionSessionUUID"})
_OUTPUTS: Final = frozenset({"text", "structuredData", "outputs", "air", "result", "mediaUUID"})
_OUTPUT_ENDINGS: Final = ("URL", "Base64Data", "DataURI")
_MAX_COST_USD: Final = 10_000
"""No item costs it; and so far below `MOST_USD` that what is held and spent fits into its columns."""
MOST_USD: Final = Decimal("99999999.999999")
"""What a money column holds (`store.columns`): sums stop there, rather than failing to be written."""
_UPLOAD_PHASES: Final = {"validated": 20, "downloaded": 40, "optimized": 60, "stored": 80}
_ENDS: Final = frozenset({"success", "error", "completed", "ready", "failed"})
"""Statuses of what has ended: the platform's own, an older spelling, and those of uploads.
The task type does not help: a poll may be answered under its own (PROTOCOL 2.1)."""


class CostPer(StrEnum):
    """What the `cost` of an item is the price of: not known of the platform (PROTOCOL 17.9)."""

    ITEM = "item"  # its own; a task costs what they sum up to
    TASK = "task"  # the whole task's, repeated on each


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a task, an item or a job failed, in the words shown to users."""

    code: str
    message: str
    retryable: bool = False
    parameter: str | None = None
    documentation: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Give the error as it is stored and shown; absent fields are left out."""
        fields = {
            "code": self.code,
            "message": self.message,
            "retryable": self.retryable,
            "parameter": self.parameter,
            "documentation": self.documentation,
        }
        return {name: value for name, value in fields.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Answer:
    """One cumulative answer about one task: its items, and errors scoped to it.

    `is_known`: it says that there is such a task, whatever else it says.
    """

    items: tuple[Mapping[str, Any], ...] = ()
    errors: tuple[JobError, ...] = ()
    is_known: bool = False

    @property
    def says_nothing(self) -> bool:
        """True for the answer of somebody who does not know the task."""
        return not (self.items or self.errors or self.is_known)


@dataclass(frozen=True, slots=True)
class NewResult:
    """A terminal item: a row to write if it is not there yet."""

    key: str
    position: int
    item: Mapping[str, Any]
    cost_usd: Decimal | None = None
    error: JobError | None = None

    @property
    def succeeded(self) -> bool:
        """True when the item carries its output."""
        return self.error is None


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer amounts to, given how many results the task was to give."""

    results: tuple[NewResult, ...]
    progress: int | None
    is_complete: bool


def read_answer(answer: Answer, *, expected: int, classify: Classify) -> Reading:
    """Read one cumulative answer of a task that gives `expected` results.

    `classify` names the error in a failed item, in the twelve codes. An item that is
    told twice is one. Results without a key of their own appear only in a complete
    reading: before that, their place in the answer could still change.
    """
    items = [storable(item) for item in answer.items]
    terminal = {
        _key(item) or f"p{place}": (place, item) for place, item in enumerate(items) if _is_terminal(item)
    }
    open_items = sum(1 for item in items if not _is_terminal(item))
    failed = len(answer.errors) + sum(1 for _, item in terminal.values() if _failed(item))
    succeeded = len(terminal) + len(answer.errors) - failed
    is_complete = succeeded + failed >= expected or (failed > 0 and succeeded == 0 and open_items == 0)

    results = [
        NewResult(
            key=key,
            position=_position(item, place),
            item=item,
            cost_usd=cost_of(item),
            error=classify(item) if _failed(item) else None,
        )
        for key, (place, item) in terminal.items()
        if _key(item) or is_complete
    ]
    if is_complete:
        results += [
            NewResult(key=f"e{n}", position=len(answer.items) + n, item={}, error=error)
            for n, error in enumerate(answer.errors)
        ]
    return Reading(tuple(results), progress_of(items), is_complete)


def storable(value: Any) -> Any:
    """Replace what jsonb and text refuse: one NUL in a prompt's echo must not stop a group's answers.

    An address of ours that the platform quotes loses its token.
    """
    match value:
        case str():
            return without_tokens(value.replace("\x00", "\ufffd"))
        case dict():
            return {storable(name): storable(inner) for name, inner in value.items()}
        case list():
            return [storable(inner) for inner in value]
        case _:
            return value


def cost_of(item: Mapping[str, Any]) -> Decimal | None:
    """Read an item's price in dollars; None when it carries none that can be believed."""
    value = item.get("cost")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        cost = Decimal(str(value))
    except InvalidOperation:
        return None
    return cost if cost.is_finite() and 0 <= cost < _MAX_COST_USD else None


def tells_odd_cost(items: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether an item names a cost that cannot be believed: it is recorded without one."""
    return any(item.get("cost") is not None and cost_of(item) is None for item in items)


def task_cost(
    known_usd: Decimal | None,
    told: Sequence[NewResult],
    *,
    known_keys: frozenset[str],
    cost_per: CostPer,
) -> Decimal | None:
    """Say what a task has cost as far as is known, given `known_usd` before and the items `told` now.

    `known_keys` are the items that were told before. None while no item has told a cost.
    In any order of partial answers the same comes out, and nothing is counted twice.
    """
    costs = [] if known_usd is None else [known_usd]
    match cost_per:
        case CostPer.ITEM:
            costs += [one.cost_usd for one in told if one.cost_usd is not None and one.key not in known_keys]
            return min(sum(costs[1:], costs[0]), MOST_USD) if costs else None
        case CostPer.TASK:
            # The dearest, should it grow with the items that are ready.
            costs += [one.cost_usd for one in told if one.cost_usd is not None]
            return max(costs, default=None)
        case _:
            assert_never(cost_per)


def _is_terminal(item: Mapping[str, Any]) -> bool:
    status = item.get("status")
    if status is not None:
        return status in _ENDS
    # Sync answers and older ones carry no status: an output makes an item terminal,
    # a UUID alone does not (PROTOCOL 3.3, progress).
    return any(
        value is not None and (name in _OUTPUTS or name.endswith(_OUTPUT_ENDINGS))
        for name, value in item.items()
    )


def _failed(item: Mapping[str, Any]) -> bool:
    return item.get("status") in {"error", "failed"}


def _key(item: Mapping[str, Any]) -> str | None:
    index = item.get("resultIndex")
    if isinstance(index, int) and not isinstance(index, bool):
        return f"i{index}"
    for name in sorted(item):
        if name.endswith("UUID") and name not in _NOT_THE_MEDIA and isinstance(item[name], str):
            return f"u{item[name]}"
    return None


def _position(item: Mapping[str, Any], place: int) -> int:
    index = item.get("resultIndex")
    return index if isinstance(index, int) and not isinstance(index, bool) and 0 <= index < 32_000 else place  # noqa: PLR2004  smallint


def progress_of(items: Sequence[Mapping[str, Any]]) -> int | None:
    """Give the progress of the slowest open item that tells any; of an upload, its last phase."""
    phases = [_UPLOAD_PHASES[str(item["status"])] for item in items if item.get("status") in _UPLOAD_PHASES]
    if phases:
        # They come one by one or all so far (PROTOCOL 17.8), and each follows the last.
        return max(phases)
    told = []
    for item in items:
        value = item.get("progress")
        if isinstance(value, int | float) and not isinstance(value, bool) and not _is_terminal(item):
            told.append(max(0, min(100, int(value))))
    return min(told, default=None)
