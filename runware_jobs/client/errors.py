"""The errors of the client.

    RunwareError                 everything the client raises or hands back
    └── ConfigurationError       an option of `Runware(...)` is unknown, missing or out of range

An error decides nothing by its text: switch on `code` and `retryable`. The platform's raw
identifier is kept, privately, because `conflictTaskUUID` and its like change what happens
next; it is unstable and no part of the interface.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeGuard, overload

from .error_codes import ErrorCode, derive_code, is_retryable

if TYPE_CHECKING:
    from collections.abc import Sequence

_DOCS = "https://runware.ai/docs/models-api/"
_ERRORS_PAGE = f"{_DOCS}errors"
_MODEL_PAGE = "https://runware.ai/docs/models/"
_UTILITY_PAGES = {
    "accountManagement": "account-management",
    "getResponse": "task-polling",
    "getTaskDetails": "task-details",
    "imageUpload": "media-storage",
    "mediaStorage": "media-storage",
    "modelSearch": "model-search",
    "modelUpload": "model-upload",
}

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
    "problem_type",
    "retry_after_s",
    "results",
    "others",
)

Parameter = str | tuple[str, ...]


class RunwareError(Exception):
    """What went wrong with one request or task.

    `parameter` is a tuple where several parameters contradict each other. `status_code` is None on
    a WebSocket and for failures of the client itself. `task_uuid` is None when the error concerns
    a whole request. `results` holds the items that had succeeded before the failure, `others` what
    else the platform found wrong with the same task. `request_id` and `problem_type` (a URI) come
    with problems of the serverless API. It survives pickling with all of them.
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
        problem_type: str | None = None,
        retry_after_s: float | None = None,
        results: Sequence[Mapping[str, Any]] = (),
        others: Sequence[RunwareError] = (),
        raw_code: str = "",
    ) -> None:
        super().__init__(message)
        self.code = ErrorCode(code)
        self.message = message
        self.retryable = is_retryable(raw_code, self.code) if retryable is None else retryable
        self.parameter = parameter
        self.task_type = task_type
        self.task_uuid = task_uuid
        self.documentation = documentation
        self.status_code = status_code
        self.validation_errors = list(validation_errors)
        self.request_id = request_id
        self.problem_type = problem_type
        self.retry_after_s = retry_after_s
        self.results = list(results)
        self.others = list(others)
        self._raw_code = raw_code

    def __reduce__(self) -> tuple[Any, ...]:
        # The third part carries what was attached later, such as notes.
        return _restore, (type(self), self._fields()), vars(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(code={self.code.value!r}, message={self.message!r})"

    def changed(self, **fields: Any) -> RunwareError:
        """Make a copy with some fields replaced; the cause is not carried over."""
        return type(self)(**{**self._fields(), **fields})

    def about(self, task: Mapping[str, Any]) -> RunwareError:
        """Make a copy that names this task where none is named, so that its receiver can ask for it; keeps the cause."""
        told = self.changed(
            task_uuid=self.task_uuid or task.get("taskUUID"), task_type=self.task_type or task["taskType"]
        )
        told.__cause__ = self.__cause__
        return told

    def _fields(self) -> dict[str, Any]:
        fields = {name: getattr(self, name) for name in _FIELDS}
        return {**fields, "code": self.code.value, "raw_code": self._raw_code}


class ConfigurationError(RunwareError):
    """An option of the client is unknown, missing or out of range; nothing was sent."""


def create_runware_error(
    raw_code: str,
    message: str,
    *,
    parameter: str | Sequence[str] | None = None,
    task_type: str | None = None,
    task_uuid: str | None = None,
    model: str | None = None,
    status_code: int | None = None,
    documentation: str | None = None,
    validation_errors: Sequence[Mapping[str, Any]] = (),
    request_id: str | None = None,
    problem_type: str | None = None,
    retry_after_s: float | None = None,
    results: Sequence[Mapping[str, Any]] = (),
) -> RunwareError:
    """Build an error as the client itself does: code, retryable and documentation are derived.

    `raw_code` is an identifier of the platform; "" leaves the judgement to `status_code`. Without
    `documentation` it links to the page of the curated `model`, else of the utility, else of errors.
    """
    named = _parameter(parameter if parameter is None or isinstance(parameter, str) else list(parameter))
    return RunwareError(
        message,
        code=derive_code(raw_code, status_code),
        parameter=named,
        task_type=task_type,
        task_uuid=task_uuid,
        status_code=status_code,
        documentation=documentation or _documentation(model, task_type, named),
        validation_errors=validation_errors,
        request_id=request_id,
        problem_type=problem_type,
        retry_after_s=retry_after_s,
        results=results,
        raw_code=raw_code,
    )


@overload
def is_runware_error(value: Mapping[str, Any]) -> bool: ...
@overload
def is_runware_error(value: object) -> TypeGuard[RunwareError]: ...
def is_runware_error(value: object) -> bool:
    """Recognise an error of this client by its shape: also one of another copy of it, or its fields as a mapping.

    Only the value itself is judged, never its cause.
    """
    if isinstance(value, RunwareError):
        return True
    code, message, retryable = (
        value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
        for name in ("code", "message", "retryable")
    )
    is_known = isinstance(code, str) and code in set(ErrorCode)
    return is_known and isinstance(message, str) and isinstance(retryable, bool)


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


def with_others(errors: Sequence[RunwareError]) -> RunwareError:
    """Give the first error of an answer, carrying the rest, so that raising it hides none."""
    first, *rest = errors
    return first.changed(others=rest) if rest else first


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


def _documentation(model: str | None, task_type: str | None, parameter: Parameter | None) -> str:
    page = _page_of(model, task_type)
    if page is None:
        return _ERRORS_PAGE
    return f"{page}#request-{parameter.replace('.', '-')}" if isinstance(parameter, str) else page


def _page_of(model: str | None, task_type: str | None) -> str | None:
    if model is not None:
        from .services.registry import bundled_registry  # noqa: PLC0415 - registry raises errors of this module

        content = bundled_registry()
        entry = content.models.get(content.air_of(model))
        return None if entry is None else _MODEL_PAGE + entry.slug
    utility = _UTILITY_PAGES.get(task_type or "")
    return None if utility is None else _DOCS + utility
