"""Requests held against the bundled schemas, and what the platform says about the first fault it finds.

Which schema counts: the model's own; for a model of a known architecture that one's; for any other model
what holds for every model of the task type. With legacy, what older clients send is taken as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # ships no types

from runware_jobs.emulator.errors import Refusal

from .bundle import Bundle, Schema, legacy_only, with_legacy
from .shapes import Look, look_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jsonschema.exceptions import ValidationError  # type: ignore[import-untyped]  # the same

    from runware_jobs.emulator.models.catalogue import Model

# In the order in which one fault out of several is told.
_TOLD_FIRST = ("required", "additionalProperties", "type", "const", "enum")
_MOST_VALUES = 40


@dataclass(frozen=True, slots=True)
class _Checker:
    """One schema, compiled twice: for the quick look and for the reasons."""

    look: Look
    validator: Any


class SchemaRules:
    """The checks of one bundle. Checkers are compiled when first needed and kept."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._checkers: dict[tuple[str, str, bool], _Checker | None] = {}
        self._known_names: dict[str, frozenset[str]] = {}

    def check(
        self, task: Mapping[str, Any], task_type: str, model: Model | None, *, legacy: bool, of_film: bool
    ) -> Refusal | None:
        """The first fault of a request of that (present) task type, or None.

        `model` is None for one that the catalogue does not know, or where none was named.
        """
        submitted = str(task["taskType"])
        key = (submitted, f"{model.air if model else ''}/{of_film}", legacy)
        if key not in self._checkers:
            schema = self.request_schema(submitted, task_type, model, legacy=legacy, of_film=of_film)
            self._checkers[key] = _checker(schema) if schema is not None else None
        checker = self._checkers[key]
        # Renamed task types are judged by the schema of today's name.
        judged = (
            task
            if submitted == task_type or self._is_legacy_only(submitted)
            else {**task, "taskType": task_type}
        )
        if checker is None or checker.look(judged):
            return None
        errors = sorted(checker.validator.iter_errors(judged), key=_rank)
        return self._refusal(errors[0], task_type, model) if errors else None

    def request_schema(
        self, submitted: str, task_type: str, model: Model | None, *, legacy: bool, of_film: bool = False
    ) -> Schema | None:
        """The schema that a request is held against; None where the bundle has none."""
        if self._is_legacy_only(submitted):
            return legacy_only(self._bundle.legacy[submitted])
        entry = self._entry(task_type, model, of_film=of_film)
        schema = entry["requestSchema"] if entry is not None else None
        if schema is None or not legacy:
            return schema
        return with_legacy(schema, task_type, self._bundle.legacy.get(task_type))

    def optional_model(self, submitted: str, task_type: str) -> bool:
        """Whether older clients leave `model` out for this task type."""
        if self._is_legacy_only(submitted):
            return "model" not in self._bundle.legacy[submitted]["required"]
        legacy = self._bundle.legacy.get(task_type)
        return legacy is not None and "model" in legacy.get("optional", ())

    def _is_legacy_only(self, submitted: str) -> bool:
        return "required" in self._bundle.legacy.get(submitted, ())

    def _entry(self, task_type: str, model: Model | None, *, of_film: bool) -> dict[str, Any] | None:
        bundle = self._bundle
        if task_type in bundle.utilities:
            return bundle.utilities[task_type]
        if model is not None:
            own = bundle.models.get(model.air) or bundle.architectures.get(model.architecture or "")
            if own is not None and own["taskType"] == task_type:
                return own
        return bundle.operation(task_type, of_film=of_film)

    def _refusal(self, error: ValidationError, task_type: str, model: Model | None) -> Refusal:
        path = ".".join(str(part) for part in error.absolute_path)
        inside = f"{path}." if path else ""
        value: Any = error.validator_value
        match error.validator:
            case "required":
                return missing(inside + next(name for name in value if name not in error.instance))
            case "additionalProperties":
                known = error.schema["properties"]
                name = next(name for name in error.instance if name not in known)
                return self._unknown(inside + name, name, task_type, model)
            case "anyOf":
                return _none_of(path, inside, value)
            case "minimum" | "minLength" | "minItems" | "maximum" | "maxLength" | "maxItems" as keyword:
                return _out_of_range(path, keyword, value)
            case keyword:
                return invalid(path, _rule(str(keyword), value))

    def _unknown(self, parameter: str, name: str, task_type: str, model: Model | None) -> Refusal:
        """Some model of this task type has it, and this one not; or none has it."""
        if model is not None and name in self._names_of(task_type):
            return Refusal(
                "unsupportedParameter",
                f"The parameter '{parameter}' is not supported by the model '{model.air}'.",
                parameter,
            )
        return Refusal(
            "unknownParameter",
            f"The parameter '{parameter}' is unknown for taskType '{task_type}'.",
            parameter,
        )

    def _names_of(self, task_type: str) -> frozenset[str]:
        if task_type not in self._known_names:
            self._known_names[task_type] = frozenset(
                name
                for entries in (self._bundle.models, self._bundle.architectures)
                for entry in entries.values()
                if entry["taskType"] == task_type and entry["requestSchema"]
                for name in entry["requestSchema"]["properties"]
            )
        return self._known_names[task_type]


def missing(parameter: str) -> Refusal:
    """The refusal for an absent required parameter."""
    return Refusal(
        f"missing{_capital(parameter)}", f"The required parameter '{parameter}' is missing.", parameter
    )


def invalid(parameter: str, rule: str) -> Refusal:
    """The refusal for a value that breaks `rule`, a whole sentence."""
    return Refusal(
        f"invalid{_capital(parameter)}", f"Invalid value for '{parameter}' parameter. {rule}", parameter
    )


def _checker(schema: Schema) -> _Checker:
    return _Checker(look_for(schema), Draft202012Validator(schema))


def _capital(parameter: str) -> str:
    """The last name in a dotted path, as it stands in an error code."""
    name = next((part for part in reversed(parameter.split(".")) if not part.isdigit()), parameter)
    return f"{name[:1].upper()}{name[1:]}"


def _rank(error: ValidationError) -> tuple[int, int]:
    keyword = str(error.validator)
    told = _TOLD_FIRST.index(keyword) if keyword in _TOLD_FIRST else len(_TOLD_FIRST)
    return len(error.absolute_path), told


def _none_of(parameter: str, inside: str, parts: Sequence[Schema]) -> Refusal:
    """The refusal of a value that has none of several forms."""
    missed = [part["required"][0] for part in parts if set(part) == {"required"}]
    if len(missed) == len(parts):
        return missing(inside + missed[0])
    return invalid(parameter, "Its value has none of the supported forms.")


def _out_of_range(parameter: str, keyword: str, bound: Any) -> Refusal:
    """Too much or too little of a number, of characters or of entries."""
    side, least = ("Small", "at least") if keyword.startswith("min") else ("Large", "at most")
    match keyword[3:]:
        case "Items":
            code, unit = f"arrayToo{side}", " entries"
        case "Length":
            code, unit = f"invalid{_capital(parameter)}", " characters"
        case _:
            code, unit = f"valueToo{side}", ""
    rule = f"It must be {least} {bound}{unit}."
    return Refusal(code, f"Invalid value for '{parameter}' parameter. {rule}", parameter)


def _rule(keyword: str, value: Any) -> str:
    match keyword:
        case "type":
            return f"It must be of type {_listed([value] if isinstance(value, str) else value, ' or ')}."
        case "enum":
            return f"Supported values are: {_listed(value)}."
        case "const":
            return f"The only supported value is: {value}."
        case _:
            return "It does not have the form that is documented."


def _listed(values: Sequence[Any] | Iterable[Any], separator: str = ", ") -> str:
    listed = [str(value) for value in values]
    more = "" if len(listed) <= _MOST_VALUES else f" and {len(listed) - _MOST_VALUES} more"
    return separator.join(listed[:_MOST_VALUES]) + more
