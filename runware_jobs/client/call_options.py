"""What a call may carry besides the platform's own parameters: how often to try, whom to tell.

The names are those of the platform's JS SDK, in camelCase or snake_case; they may stand among the
parameters or be given as keywords. They are taken out here and never go over the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from .errors import RunwareError, create_runware_error

if TYPE_CHECKING:
    from .parts import Parts

Item = dict[str, Any]
OnPartial = Callable[[list[Item], RunwareError | None], object]
OnPhase = Callable[[Item], object]
OnUpload = Callable[[Item | None, RunwareError | None], object]


@dataclass(frozen=True, slots=True)
class CallOptions:
    """The extras of one call.

    `attempts` counts tries in all, the first included; None keeps the client's own number. `on_partial` hears
    the items of each answer that brought finished ones, and the error that came with them or None; `on_phase`
    each phase of a model upload; `on_upload` each phase and the error that it means, or None and what else ended
    the upload. With `skip_response` a call ends with the platform's ACK. `include_payload` and
    `include_generation_time` put the task as it was sent, and the milliseconds until its end, into
    `additionalResponse` of each item.
    """

    attempts: int | None = None
    on_partial: OnPartial | None = None
    on_phase: OnPhase | None = None
    on_upload: OnUpload | None = None
    skip_response: bool = False
    include_payload: bool = False
    include_generation_time: bool = False

    def applied_to(self, parts: Parts) -> Parts:
        """Give the parts with this call's number of tries."""
        if self.attempts is None:
            return parts
        return replace(parts, config=replace(parts.config, max_retries=self.attempts - 1))


NO_CALL_OPTIONS = CallOptions()
_TASK_UUID = "taskUUID"
_FIELDS = {
    "retry": "attempts",
    "customTaskUUID": _TASK_UUID,
    "custom_task_uuid": _TASK_UUID,
    "includeGenerationTime": "include_generation_time",
    "include_generation_time": "include_generation_time",
    "includePayload": "include_payload",
    "include_payload": "include_payload",
    "onPartialImages": "on_partial",
    "onPartialResponse": "on_partial",
    "onPhase": "on_phase",
    "onUploadStream": "on_upload",
    "on_partial_images": "on_partial",
    "on_partial_response": "on_partial",
    "on_phase": "on_phase",
    "on_upload_stream": "on_upload",
    "skipResponse": "skip_response",
    "skip_response": "skip_response",
}


def split_call(
    params: Mapping[str, Any] | None, keywords: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], CallOptions]:
    """Part what goes over the wire from what is meant for the client; a keyword replaces a parameter of its name.

    An own `taskUUID` goes before `customTaskUUID`; `retry=0` and `retry=1` both mean one try. A value of None
    counts as left out for the client's own names, and as the platform's null for all others.

    Errors:
        RunwareError (validation): `params` is no mapping, or a value of an extra is of the wrong kind.
    """
    if params is not None and not isinstance(params, Mapping):
        raise create_runware_error(
            "invalidParameters",
            f"The parameters are a {type(params).__name__}: pass one dict, or name them as keywords.",
        )
    given = {**(params or {}), **(keywords or {})}
    task = {name: value for name, value in given.items() if name not in _FIELDS}
    extras: dict[str, Any] = {}
    for name, value in given.items():
        if name not in _FIELDS or value is None:
            continue
        if _FIELDS[name] == _TASK_UUID:
            task[_TASK_UUID] = task.get(_TASK_UUID) or value
        else:
            extras[_FIELDS[name]] = _checked(name, value)
    return task, CallOptions(**extras) if extras else NO_CALL_OPTIONS


def _checked(name: str, value: object) -> Any:
    field = _FIELDS[name]
    if field == "attempts":
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise _refusal(name, value, "a number of tries, 0 or more")
        return max(1, value)
    if field in {"on_partial", "on_phase", "on_upload"}:
        if not callable(value):
            raise _refusal(name, value, "a function")
        return cast("Callable[..., object]", value)
    if not isinstance(value, bool):
        raise _refusal(name, value, "True or False")
    return value


def _refusal(name: str, value: object, wanted: str) -> RunwareError:
    return create_runware_error("invalidOption", f"{name} is {value!r}: use {wanted}.", parameter=name)
