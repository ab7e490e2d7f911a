"""Whether a well-formed task is taken on: switches, injected refusals, taken UUIDs, money, room.

All pure: the platform asks in order, and the first refusal stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import Refusal
from .kinds import ALIASES
from .tasks import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from .accounts import Account
    from .faults.judging import Struck
    from .kinds import Kind
    from .messages import Caller
    from .switches import Switches
    from .tasks import Task

FULL = Refusal("rateLimitExceeded", "The queue of the model is full. Back off and try again.")
_UPLOAD_EXTRAS = ("deliveryMethod", "webhookURL")
_UPLOAD_IDENTITY = ("air", "uniqueIdentifier")


def is_known_name(task_type: str, switches: Switches) -> bool:
    """Whether a task type may be called so: older names can be switched off."""
    return switches.legacy_names or task_type not in ALIASES


def switched_refusal(request: Mapping[str, Any], kind: Kind, switches: Switches) -> Refusal | None:
    """What only a switch forbids: slugs, and the disputed parameters of modelUpload."""
    model = request.get("model")
    if not switches.slugs and isinstance(model, str) and not (":" in model and "@" in model):
        return Refusal(
            "invalidModel", "Invalid value for 'model' parameter. It must be an AIR identifier.", "model"
        )
    if kind.name != "modelUpload":
        return None
    for name in () if switches.upload_delivery else _UPLOAD_EXTRAS:
        if name in request:
            return Refusal("unknownParameter", f"The parameter '{name}' is not supported.", name)
    for name in _UPLOAD_IDENTITY if switches.upload_identity == "required" else ():
        if name not in request:
            return Refusal(
                f"missing{name[0].upper()}{name[1:]}", f"The required parameter '{name}' is missing.", name
            )
    return None


def expired_refusal(
    request: Mapping[str, Any], expired: AbstractSet[str], switches: Switches
) -> Refusal | None:
    """The refusal of a task that refers to an upload whose time is over."""
    if not expired:
        return None
    for parameter, text in _strings(request):
        if any(uuid in text for uuid in expired):
            return Refusal(switches.expired_upload, f"The media in '{parameter}' is gone.", parameter)
    return None


def injected_refusal(faults: Mapping[str, Struck]) -> Refusal | None:
    """The refusal that a fault rule asks for."""
    struck = faults.get("refuse")
    if struck is None:
        return None
    code = struck.values["code"]
    message = struck.values["message"] or f"The task was refused: {code}."
    return Refusal(code, message, struck.values["parameter"])


def injected_failure(faults: Mapping[str, Struck]) -> Failure | None:
    """The failure of items that a fault rule asks for."""
    struck = faults.get("item_error")
    if struck is None:
        return None
    values = struck.values
    items = tuple(values["items"]) if values["items"] is not None else None
    message = values["message"] or f"The generation failed: {values['code']}."
    return Failure(values["code"], message, items, values["form"])


def is_taken(earlier: Task | None, caller: Caller, now: float, switches: Switches) -> bool:
    """Whether the UUID of `earlier` cannot be used again by this caller now."""
    if earlier is None or now - earlier.accepted_at < switches.conflict_lag_s:
        return False
    if not _in_scope(earlier, caller, switches):
        return False
    if not switches.conflict_after_failure and earlier.failure is not None and earlier.ends_at <= now:
        return False
    match switches.conflict:
        case "running":
            return now < earlier.ends_at
        case "window":
            return now < earlier.accepted_at + switches.conflict_window_s
        case "forever":
            return True


def _in_scope(earlier: Task, caller: Caller, switches: Switches) -> bool:
    match switches.conflict_scope:
        case "platform":
            return True
        case "organisation":
            return earlier.account == caller.account.organization_uuid
        case "key":
            return earlier.key_id == caller.key_id


def conflict(task_uuid: str) -> Refusal:
    """The refusal of a UUID that is taken."""
    return Refusal(
        "conflictTaskUUID",
        f"A task with UUID '{task_uuid}' already exists. Use a unique UUID for each task.",
        "taskUUID",
    )


def credit_refusal(account: Account, price_micro_usd: int) -> Refusal | None:
    """The refusal of a task that the account cannot pay beside what it runs already."""
    if 0 < account.available_micro_usd >= price_micro_usd:
        return None
    return Refusal("insufficientCredits", "Insufficient credits. Please add funds to your account.")


def _strings(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every string in a request with its dotted path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _strings(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _strings(inner, f"{path}.{index}")
