"""The errors of the client.

    RunwareError                 everything the client raises or hands back
    └── ConfigurationError       an option of `Runware(...)` is unknown, missing or out of range

An error decides nothing by its text: switch on `code` and `retryable`. The platform's raw
identifier is kept, privately, because `conflictTaskUUID` and its like change what happens
next; it is unstable and no part of the interface.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

from .error_codes import RETRYABLE, ErrorCode, derive_code

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ERRORS_PAGE = "https://runware.ai/docs/models-api/errors"
_MODEL_PAGE = "https://runware.ai/docs/models/"

_FIELDS = (
    "message",
    "retryable",
    "parameter",
    "task_type",
    "task_uuid",
    "documentation",
    "status_code",
    "validation_errors",
    "request_id",
    "retry_after_s",
    "results",
)

Parameter = str | tuple[str, ...]


class RunwareError(Exception):
    """What went wrong with one request or task.

    `parameter` is a tuple where several parameters contradict each other. `status_code` is None on
    a WebSocket and for failures of the client itself. `task_uuid` is None when the error concerns
    a whole request. `results` holds the items that had succeeded before the failure.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = ErrorCode.UNKNOWN,
        retryable: bool | None = None,
        parameter: Parameter | None = None,
        task_type: str | None = None,
        task_uuid: str | None = None,
        documentation: str | None = None,
        status_code: int | None = None,
        validation_errors: Sequence[Mapping[str, Any]] = (),
        request_id: str | None = None,
        retry_after_s: float | None = None,
        results: Sequence[Mapping[str, Any]] = (),
        raw_code: str = "",
    ) -> None:
        super().__init__(message)
        self.code = ErrorCode(code)
        self.message = message
        self.retryable = self.code in RETRYABLE if retryable is None else retryable
        self.parameter = parameter
        self.task_type = task_type
        self.task_uuid = task_uuid
        self.documentation = documentation
        self.status_code = status_code
        self.validation_errors = list(validation_errors)
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.results = list(results)
        self._raw_code = raw_code

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self._fields())

    def __repr__(self) -> str:
        return f"{type(self).__name__}(code={self.code.value!r}, message={self.message!r})"

    def changed(self, **fields: Any) -> RunwareError:
        """Make a copy with some fields replaced; the cause is not carried over."""
        return type(self)(**{**self._fields(), **fields})

    def _fields(self) -> dict[str, Any]:
        fields = {name: getattr(self, name) for name in _FIELDS}
        return {**fields, "code": self.code.value, "raw_code": self._raw_code}


class ConfigurationError(RunwareError):
    """An option of the client is unknown, missing or out of range; nothing was sent."""


def create_runware_error(
    raw_code: str,
    message: str,
    *,
    model: str | None = None,
    status_code: int | None = None,
    documentation: str | None = None,
    **fields: Any,
) -> RunwareError:
    """Build an error as the client itself does: code, retryable and documentation are derived.

    `fields` are those of `RunwareError` (`parameter`, `task_type`, `task_uuid`, ...).
    """
    return RunwareError(
        message,
        code=derive_code(raw_code, status_code),
        status_code=status_code,
        documentation=documentation or _documentation(model),
        raw_code=raw_code,
        **fields,
    )


def is_runware_error(value: object) -> TypeGuard[RunwareError]:
    """Recognise an error of this client by its shape, also one made by another copy of this package."""
    if isinstance(value, RunwareError):
        return True
    if not isinstance(value, BaseException):
        return False
    code = getattr(value, "code", None)
    return (
        isinstance(code, str)
        and code in set(ErrorCode)
        and isinstance(getattr(value, "message", None), str)
        and isinstance(getattr(value, "retryable", None), bool)
    )


def error_from_wire(
    entry: Mapping[str, Any],
    *,
    status_code: int | None = None,
    retry_after_s: float | None = None,
    task_uuid: str | None = None,
    task_type: str | None = None,
) -> RunwareError:
    """Read one error entry of the platform; `task_uuid` and `task_type` fill what the entry leaves out."""
    context = entry.get("context")
    scope = context if isinstance(context, dict) else {}
    raw_code = _text(entry.get("code")) or _text(entry.get("errorId")) or ""
    message = _text(entry.get("message")) or _text(entry.get("errorMessage"))
    return create_runware_error(
        raw_code,
        message or f"The platform reported an error without a message (code {raw_code or 'missing'}).",
        parameter=_parameter(entry.get("parameter")),
        task_type=_text(entry.get("taskType")) or _text(scope.get("taskType")) or task_type,
        task_uuid=_text(entry.get("taskUUID")) or _text(scope.get("taskUUID")) or task_uuid,
        documentation=_text(entry.get("documentation")),
        status_code=status_code,
        retry_after_s=retry_after_s,
        request_id=_text(entry.get("requestId")),
    )


def raw_code_of(error: RunwareError) -> str:
    """Give the platform's own identifier, for decisions inside the client room only."""
    return error._raw_code  # noqa: SLF001 - kept private for users; this is the one reader


def _restore(kind: type[RunwareError], fields: dict[str, Any]) -> RunwareError:
    return kind(**fields)


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def _parameter(value: object) -> Parameter | None:
    if isinstance(value, list):
        names = tuple(name for name in value if isinstance(name, str))
        return names or None
    return _text(value)


def _documentation(model: str | None) -> str:
    if model is not None:
        from .registry import bundled_registry  # noqa: PLC0415 - registry raises errors of this module

        entry = bundled_registry().models.get(model)
        if entry is not None:
            return _MODEL_PAGE + entry.slug
    return _ERRORS_PAGE
