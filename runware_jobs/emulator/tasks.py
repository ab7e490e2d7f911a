"""A Runware task as the platform keeps it. What it shows is a pure function of the time.

Nothing runs while a task "runs": the moments at which its items finish are fixed when it is accepted.
Money and counters that follow from finishing are the platform's business (protocol.py), which asks here
how far a task is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import orjson

from .identifiers import derived_fraction, derived_int, derived_uuid
from .kinds import Kind, kind_of, specific
from .latencies import DEFAULT_LATENCIES, Latency

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Failure:
    """An injected failure of items. `items` None means all; `form` None follows the switch."""

    code: str
    message: str
    items: tuple[int, ...] | None = None
    form: Literal["A", "B"] | None = None

    def hits(self, index: int) -> bool:
        return self.items is None or index in self.items


@dataclass(slots=True, eq=False)
class Task:
    """One accepted task. Times are unix seconds; `finish_at` has one entry per item, in item order."""

    uuid: str
    task_type: str
    """As submitted, so perhaps an older name; results echo it."""
    kind: Kind
    model: str
    account: str
    """organizationUUID of whoever submitted it; nobody else can ask for it."""
    request: bytes
    accepted_at: float
    finish_at: tuple[float, ...]
    price_micro_usd: int
    base_url: str
    seed: int
    key_id: str = ""
    """Stands for the API key it came with."""
    delivery: str = "async"
    include_cost: bool = False
    output_types: tuple[str, ...] = ("URL",)
    output_format: str = ""
    ttl_s: float | None = None
    webhook_url: str | None = None
    failure: Failure | None = None
    lost: bool = False
    """Accepted and then forgotten by the platform: no question about it gets an answer."""
    settled: int = 0
    """Items whose end has been booked; always a prefix, since items finish in order."""
    listeners: list[Callable[[Task, Sequence[int]], None]] = field(default_factory=list)

    @property
    def ends_at(self) -> float:
        return self.finish_at[-1]

    def finished(self, now: float) -> int:
        """How many items have finished by `now`, successfully or not."""
        if self.finish_at[-1] <= now:
            return len(self.finish_at)
        return sum(at <= now for at in self.finish_at)

    def progress(self, index: int, now: float) -> int:
        """Percent of the way to the item's end, 0 to 99 while it runs."""
        span = self.finish_at[index] - self.accepted_at
        if span <= 0 or span == NEVER:
            return 0
        return max(0, min(99, int(100 * (now - self.accepted_at) / span)))

    def item_uuid(self, index: int) -> str:
        return derived_uuid("item", self.uuid, index)

    def parameters(self) -> dict[str, Any]:
        """The task as it was submitted."""
        decoded: dict[str, Any] = orjson.loads(self.request)
        return decoded

    def to_record(self) -> dict[str, Any]:
        """Plain values for a state file; `from_record` undoes it. Listeners are not kept."""
        failure = self.failure
        return {
            "uuid": self.uuid,
            "task_type": self.task_type,
            "account": self.account,
            "request": self.request.decode(),
            "accepted_at": self.accepted_at,
            "finish_at": [None if at == NEVER else at for at in self.finish_at],
            "price_micro_usd": self.price_micro_usd,
            "base_url": self.base_url,
            "seed": self.seed,
            "key_id": self.key_id,
            "ttl_s": self.ttl_s,
            "failure": [failure.code, failure.message, failure.items, failure.form] if failure else None,
            "lost": self.lost,
            "settled": self.settled,
        }


def new_task(
    request: Mapping[str, Any],
    kind: Kind,
    *,
    account: str,
    accepted_at: float,
    finish_at: tuple[float, ...],
    price_micro_usd: int,
    base_url: str,
    seed: int,
    key_id: str = "",
    raw: bytes | None = None,
) -> Task:
    """A task from a valid request. `raw` is the request as JSON where the caller has it already."""
    task_type = str(request["taskType"])
    output_type = request.get("outputType", "URL")
    return Task(
        uuid=str(request["taskUUID"]),
        task_type=task_type,
        kind=kind,
        model=str(request.get("model", "")),
        account=account,
        request=raw if raw is not None else orjson.dumps(request),
        accepted_at=accepted_at,
        finish_at=finish_at,
        price_micro_usd=price_micro_usd,
        base_url=base_url,
        seed=seed,
        key_id=key_id,
        delivery=str(request.get("deliveryMethod", "sync" if kind.delivers_sync else "async")),
        include_cost=request.get("includeCost") is True,
        output_types=tuple(output_type) if isinstance(output_type, list) else (output_type,),
        output_format=str(request.get("outputFormat", "")),
        ttl_s=request.get("ttl"),
        webhook_url=request.get("webhookURL"),
    )


def task_from_record(record: Mapping[str, Any]) -> Task:
    """The task of a state file."""
    request = orjson.loads(record["request"])
    kind = kind_of(record["task_type"])
    if kind is None:
        raise ValueError(
            f"state file: task {record['uuid']} has the unknown taskType {record['task_type']!r}"
        )
    task = new_task(
        request,
        specific(kind, request),
        account=record["account"],
        accepted_at=record["accepted_at"],
        finish_at=tuple(NEVER if at is None else at for at in record["finish_at"]),
        price_micro_usd=record["price_micro_usd"],
        base_url=record["base_url"],
        seed=record["seed"],
        key_id=record["key_id"],
        raw=record["request"].encode(),
    )
    if record["failure"]:
        code, message, items, form = record["failure"]
        task.failure = Failure(code, message, tuple(items) if items is not None else None, form)
    task.ttl_s = record["ttl_s"]
    task.lost = record["lost"]
    task.settled = record["settled"]
    return task


def finish_times(
    task_uuid: str, kind: Kind, count: int, *, starts_at: float, latency: Latency, speed: float, seed: int
) -> tuple[float, ...]:
    """When each item will have finished: the last after the whole duration, the first not long before."""
    share = derived_fraction("duration", seed, task_uuid)
    duration = latency.seconds(share) / speed
    first = 0.2 if kind.shape == "phases" else 0.6
    if count == 1:
        return (starts_at + duration,)
    return tuple(starts_at + duration * (first + (1 - first) * index / (count - 1)) for index in range(count))


def latency_for(kind: Kind, latencies: Mapping[str, Latency]) -> Latency:
    """The latency set for the task type, else for its group, else the usual one."""
    return latencies.get(kind.name) or latencies.get(kind.latency) or DEFAULT_LATENCIES[kind.latency]


def task_seed(request: Mapping[str, Any], task_uuid: str, seed: int) -> int:
    """The seed of the first item: the caller's, else one derived from the task."""
    asked = request.get("seed")
    if isinstance(asked, int) and not isinstance(asked, bool) and asked >= 0:
        return asked
    return derived_int(1 << 31, "seed", seed, task_uuid)
