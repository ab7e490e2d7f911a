"""Check parameters against the platform's own schema of their model, before they are sent.

Best effort: without the schemas service, or for a model it does not know, nothing is checked and
the platform decides, as it does in any case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import jsonschema  # type: ignore[import-untyped]  # ships no types; used in this module only
import orjson
import referencing
from jsonschema.validators import validator_for  # type: ignore[import-untyped]  # the same

from .errors import create_runware_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .log import ClientLog

_FETCH_TIMEOUT_S = 5.0
_validators: dict[tuple[str, str], tuple[Any, str | None]] = {}


def clear_validator_cache() -> None:
    """Forget the schemas fetched by this process; the next validation fetches them again."""
    _validators.clear()


async def validate_params(
    session: httpx.AsyncClient, schemas_base_url: str, task: Mapping[str, Any], log: ClientLog
) -> None:
    """Check a task against the schema of its model.

    Errors:
        RunwareError (validation): with every violation in `validation_errors` (message, path, rule, rule_definition).
    """
    model = task.get("model")
    if not isinstance(model, str):
        return
    validator, documentation = await _validator(session, schemas_base_url, model, log)
    if validator is None:
        return
    # What will go over the wire: tuples are lists there and UUID objects are strings.
    content = orjson.loads(orjson.dumps(dict(task)))
    violations = sorted(
        validator.iter_errors(content), key=lambda violation: list(map(str, violation.absolute_path))
    )
    if not violations:
        return
    first = violations[0]
    path = ".".join(map(str, first.absolute_path))
    raise create_runware_error(
        "validationFailed",
        f"{path or 'The parameters'}: {first.message[:300]}",
        parameter=path or None,
        task_type=task["taskType"],
        task_uuid=task.get("taskUUID"),
        documentation=documentation,
        model=model,
        validation_errors=[
            {
                "message": violation.message[:300],
                "path": ".".join(map(str, violation.absolute_path)),
                "rule": violation.validator,
                "rule_definition": violation.validator_value,
            }
            for violation in violations
        ],
    )


async def _validator(
    session: httpx.AsyncClient, schemas_base_url: str, model: str, log: ClientLog
) -> tuple[Any, str | None]:
    key = schemas_base_url, model
    if key in _validators:
        return _validators[key]
    url = f"{schemas_base_url.rstrip('/')}/resolve/{quote(model, safe='')}"
    try:
        response = await session.get(url, timeout=_FETCH_TIMEOUT_S)
        if response.status_code == httpx.codes.NOT_FOUND:
            _validators[key] = None, None
            return None, None
        response.raise_for_status()
        answer = orjson.loads(response.content)
        schema = answer.get("requestSchema")
        if schema is None:
            found: tuple[Any, str | None] = None, None
        else:
            kind = validator_for(schema)
            kind.check_schema(schema)
            # An empty registry: a schema may not make this process fetch what it refers to.
            found = kind(schema, registry=referencing.Registry()), answer.get("documentation")
    except (httpx.HTTPError, ValueError, AttributeError, jsonschema.SchemaError) as error:
        log.write("warn", "schema_not_usable", {"model": model, "reason": repr(error)})
        return None, None
    _validators[key] = found
    return found
