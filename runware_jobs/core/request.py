"""What a producer asks for, checked: from params and options to a job that may be enqueued.

Params are hostile here (DESIGN 7): they may come through HTTP or a broker. What
would let a caller choose the account, the delivery or the address of a callback
is refused with the option to use instead. Nothing is read from disk or network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import orjson

from runware_jobs.errors import InvalidJob

from .identity import request_hash
from .states import Inputs, Kind, Lane, OnPartial
from .task_types import TASK_TYPES, WITHOUT_DELIVERY_METHOD, lane_of, results_expected, size_of

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_PARAMS_BYTES: Final = 1_000_000
"""Larger requests carry media that belongs into an input, stored once and referenced."""

MAX_DEPTH: Final = 64
"""No task of the platform comes near; recursion limits differ between Pythons, this does not."""

_MAX_KEY: Final = 255
_MAX_RESULTS: Final = 1_000
"""Far above what any model gives, and within what a count of results may be."""

_MAX_DELAY_S: Final = 366 * 86_400.0
_ON_PARTIAL: Final = frozenset(OnPartial)

# What these do is ours to decide; the message says what to use instead.
_REFUSED: Final = {
    "apiKey": "the worker's own key is used; remove it",
    "webhookURL": "pass the option webhook_url: it is signed and retried",
    "uploadEndpoint": "use an archive (RUNWARE_JOBS_ARCHIVE_URL) instead",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of `enqueue`, as given; `make_job` checks them. Durations in seconds."""

    tenant: str = "default"
    priority: int = 5
    idempotency_key: str | None = None
    external_id: str | None = None
    custom_id: str | None = None
    delay_s: float = 0.0
    deadline_s: float | None = None
    start_deadline_s: float | None = None
    max_attempts: int = 3
    on_partial: str = OnPartial.SUCCEED
    webhook_url: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    link: Mapping[str, Any] | None = None
    link_error: Mapping[str, Any] | None = None
    canvas: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job that may be enqueued: every rule that needs no database has been checked."""

    id: UUID
    kind: Kind
    lane: Lane
    model: str
    size: str
    params: Mapping[str, Any]
    request_hash: bytes
    results_expected: int
    alias: str | None
    options: Options
    inputs: Inputs | None = None


def make_job(
    job_id: UUID,
    kind: str,
    params: Mapping[str, Any],
    options: Options,
    *,
    inputs: Inputs | None = None,
) -> NewJob:
    """Check a request and return the job to enqueue.

    `params` must carry `taskType`. `taskUUID` becomes the job's alias: the UUID
    that is sent is derived from the job (DESIGN 4, Identity). `inputs` says where the
    large inputs stand that params refer to; None when they refer to none.

    Raises:
        InvalidJob: a parameter or option is wrong; `parameter` names it.
    """
    checked_kind = _kind(kind)
    clean = _clean_params(checked_kind, dict(params))
    alias = clean.pop("taskUUID", None)
    _check_options(options)
    model = clean.get("model") or ""
    if not isinstance(model, str) or len(model) > _MAX_KEY:
        raise InvalidJob(
            f"model must be a string of at most {_MAX_KEY} characters (an AIR such as 'runware:400@1')",
            parameter="model",
        )
    if _json_size(clean, "params") > MAX_PARAMS_BYTES:
        raise InvalidJob(
            f"params are larger than {MAX_PARAMS_BYTES} bytes: upload media first, or pass it as a Path",
            parameter="params",
        )
    return NewJob(
        id=job_id,
        kind=checked_kind,
        lane=lane_of(checked_kind, clean["taskType"], clean),
        model=model,
        size=size_of(clean),
        params=clean,
        request_hash=request_hash(kind, clean),
        results_expected=results_expected(clean),
        alias=_alias(alias),
        options=options,
        inputs=inputs,
    )


def refuse_deep(params: Any) -> None:
    """Refuse params that are nested more than `MAX_DEPTH` deep, before anything walks through them.

    Raises:
        InvalidJob: they are.
    """
    level, layer = 0, [params]
    while layer:
        if level > MAX_DEPTH:
            raise InvalidJob(f"params are nested more than {MAX_DEPTH} levels deep", parameter="params")
        level += 1
        layer = [
            inner
            for value in layer
            if isinstance(value, dict | list | tuple)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]


def _kind(kind: str) -> Kind:
    try:
        return Kind(kind)
    except ValueError:
        raise InvalidJob(f"kind must be one of {', '.join(Kind)}, got {kind!r}", parameter="kind") from None


def _clean_params(kind: Kind, params: dict[str, Any]) -> dict[str, Any]:
    for name, remedy in _REFUSED.items():
        if name in params:
            raise InvalidJob(f"{name} is not taken in params: {remedy}", parameter=name)
    if params.get("deliveryMethod") == "stream":
        raise InvalidJob(
            "deliveryMethod 'stream' needs a caller that listens: use the client's stream()",
            parameter="deliveryMethod",
        )
    if params.get("outputType", "URL") != "URL":
        raise InvalidJob(
            "outputType must be 'URL': results are rows; set an archive to keep the files",
            parameter="outputType",
        )
    task_type = params.get("taskType")
    if not isinstance(task_type, str) or task_type not in TASK_TYPES[kind]:
        raise InvalidJob(
            f"taskType {task_type!r} is not a {kind} job's: use one of {', '.join(sorted(TASK_TYPES[kind]))}",
            parameter="taskType",
        )
    for name in ("numberResults", "promptVersions"):
        # A job is complete when that many results are there.
        if name in params:
            _whole(name, params[name], 1, _MAX_RESULTS)
    params.pop("deliveryMethod", None)
    if task_type not in WITHOUT_DELIVERY_METHOD:
        params["deliveryMethod"] = "async"
    if kind is not Kind.UPLOAD:
        params["includeCost"] = True
    return params


def _alias(value: Any) -> str | None:
    if value is None:
        return None
    try:
        return str(UUID(value))
    except (ValueError, AttributeError, TypeError):
        raise InvalidJob(
            "taskUUID must be a UUID; it becomes the job's alias", parameter="taskUUID"
        ) from None


def _check_options(options: Options) -> None:
    _whole("priority", options.priority, 0, 9)
    _whole("max_attempts", options.max_attempts, 1, 100)
    _between("delay_s", options.delay_s, 0, _MAX_DELAY_S)
    for name in ("deadline_s", "start_deadline_s"):
        value = getattr(options, name)
        if value is not None:
            _between(name, value, 0.001, _MAX_DELAY_S)
    for name in ("tenant", "idempotency_key", "external_id", "custom_id"):
        value = getattr(options, name)
        if (value is not None or name == "tenant") and not _is_name(value):
            raise InvalidJob(f"{name} must be a string of 1 to {_MAX_KEY} characters", parameter=name)
    if options.on_partial not in _ON_PARTIAL:
        raise InvalidJob("on_partial must be 'succeed' or 'fail'", parameter="on_partial")
    tags: Any = options.tags  # callers are not type-checked
    if isinstance(tags, str) or not all(_is_name(tag) for tag in tags):
        raise InvalidJob(f"tags must be a list of strings of 1 to {_MAX_KEY} characters", parameter="tags")
    for name in ("metadata", "link", "link_error", "canvas"):
        value = getattr(options, name)
        if value is not None:
            _json_size(value, name)


def _json_size(value: Mapping[str, Any], name: str) -> int:
    """Count the bytes of a dict as JSON, which the database must be able to hold."""
    try:
        encoded = orjson.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidJob(f"{name} must be a dict that JSON can hold: {error}", parameter=name) from None
    # The encoding of a NUL may also be a backslash and its text: only then look closer.
    if not encoded.startswith(b"{") or (b"\\u0000" in encoded and _has_nul(value)):
        raise InvalidJob(f"{name} must be a dict without NUL characters in it", parameter=name)
    return len(encoded)


def _has_nul(value: Any) -> bool:
    match value:
        case str():
            return "\x00" in value
        case dict():
            return any(_has_nul(name) or _has_nul(inner) for name, inner in value.items())
        case list() | tuple():
            return any(map(_has_nul, value))
        case _:
            return False


def _is_name(value: Any) -> bool:
    if not isinstance(value, str) or not 1 <= len(value) <= _MAX_KEY or "\x00" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _whole(name: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidJob(
            f"{name} must be a whole number from {low} to {high}, got {value!r:.50}", parameter=name
        )


def _between(name: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InvalidJob(f"{name} must be a number from {low:g} to {high:g}, got {value!r}", parameter=name)
