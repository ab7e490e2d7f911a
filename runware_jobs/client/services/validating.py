"""Check parameters against the platform's own schema of their model, before they are sent.

Best effort: where nobody has a schema nothing is checked and the platform decides, as it does in
any case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from runware_jobs.client.errors import create_runware_error
from runware_jobs.client.wire.grouping import encode_task

from .schema_lookup import clear_validator_cache, find_schema
from .violations import describe

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from runware_jobs.client.log import ClientLog

    from .schema_lookup import FoundSchema

__all__ = ["clear_validator_cache", "validate_params"]

# The rest is in `validation_errors`; a message that fills a screen is not read.
_TOLD_IN_MESSAGE = 20


async def validate_params(
    session: httpx.AsyncClient, schemas_base_url: str, task: Mapping[str, Any], log: ClientLog
) -> None:
    """Check a task, as it would be sent, against the schema of its model or utility.

    Errors:
        RunwareError (validation): with every violation in `validation_errors` (message, path, rule,
            rule_definition) and in the message; `parameter` is the first.
    """
    found = await find_schema(session, schemas_base_url, task, log)
    if found is None:
        return
    violations = _violations(found, task, log)
    if not violations:
        return
    parameter = violations[0]["path"] or None
    raise create_runware_error(
        "validationFailed",
        _message(task, violations),
        parameter=parameter,
        task_type=task["taskType"],
        task_uuid=task.get("taskUUID"),
        documentation=_link(found.documentation, parameter),
        model=task.get("model"),
        validation_errors=violations,
    )


def _violations(found: FoundSchema, task: Mapping[str, Any], log: ClientLog) -> list[dict[str, Any]]:
    # What will go over the wire: tuples are lists there and UUID objects are strings.
    content = orjson.loads(encode_task(task).json)
    known = found.validator.schema.get("properties", {})
    # Some schemas have no word on delivery, or none on streams: what the client adds is no problem of the caller.
    if "deliveryMethod" not in known or content.get("deliveryMethod") == "stream":
        content.pop("deliveryMethod", None)
    try:
        violations = list(found.validator.iter_errors(content))
    except Exception as error:  # noqa: BLE001 - a foreign schema inside a library: it may raise anything
        log.write("warn", "schema_not_usable", {"model": task.get("model"), "reason": repr(error)})
        return []
    return describe(violations)


def _link(page: str | None, parameter: str | None) -> str | None:
    """Point into the page of the model; None leaves it to what the client knows of models itself."""
    if page is None or parameter is None:
        return page
    return f"{page}#request-{parameter.replace('.', '-')}"


def _message(task: Mapping[str, Any], violations: list[dict[str, Any]]) -> str:
    subject = f"{task['taskType']} ({task['model']})" if task.get("model") else task["taskType"]
    count = "1 problem" if len(violations) == 1 else f"{len(violations)} problems"
    lines = [f"{count} with the parameters of {subject}:"]
    lines += [f"- {violation['message']}" for violation in violations[:_TOLD_IN_MESSAGE]]
    left = len(violations) - _TOLD_IN_MESSAGE
    return "\n".join([*lines, f"- and {left} more, in validation_errors"] if left > 0 else lines)
