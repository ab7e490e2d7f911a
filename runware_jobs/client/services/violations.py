"""Say what is wrong with parameters, and what would be right: all of it, in plain sentences.

Pure. One entry per problem with the four keys `message`, `path`, `rule`, `rule_definition`. Messages
name parameters, limits and small values, never a whole value: that may be a prompt or a picture.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Entry = dict[str, Any]

# Longer lists are cut: nobody finds a name in hundreds.
_MOST_NAMES = 40
_MOST_CHARACTERS = 40
_MOST_FORMS = 4
# How alike a misspelt name must be: one that shares half of its letters by chance is no help.
_LIKENESS = 0.7

_LIMITS = {
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be above {}",
    "exclusiveMaximum": "must be below {}",
    "multipleOf": "must be a multiple of {}",
    "minLength": "must have at least {} characters",
    "maxLength": "must have at most {} characters",
    "minItems": "must have at least {} entries",
    "maxItems": "must have at most {} entries",
}


def describe(violations: Iterable[Any]) -> list[Entry]:
    """Give an entry for each violation that jsonschema reports, ordered by path; none twice."""
    entries: dict[tuple[str, str], Entry] = {}
    for violation in violations:
        for entry in _entries(violation):
            entries.setdefault((entry["path"], entry["message"]), entry)
    return [entries[key] for key in sorted(entries)]


def _entries(violation: Any) -> Iterator[Entry]:
    path = ".".join(map(str, violation.absolute_path))
    rule, definition, value = violation.validator, violation.validator_value, violation.instance
    match rule:
        case "required":  # reported once per missing name, without saying which
            for name in definition:
                if name not in value:
                    yield _entry(violation, _join(path, name), "is required")
        case "additionalProperties" if definition is False:
            known = list(violation.schema.get("properties", {}))
            for name in value:
                if name not in known:
                    yield _entry(violation, _join(path, name), _unknown(name, known))
        case "anyOf" | "oneOf":
            yield _entry(violation, path, _none_fits(violation))
        case _:
            yield _entry(violation, path, _sentence(rule, definition, value))


def _entry(violation: Any, path: str, says: str) -> Entry:
    return {
        "message": _ended(f'"{path}" {says}' if path else f"The parameters: {says}"),
        "path": path,
        "rule": violation.validator,
        "rule_definition": violation.validator_value,
    }


def _ended(text: str) -> str:
    return text if text.endswith("?") else f"{text}."


def _sentence(rule: str, definition: Any, value: object) -> str:
    match rule:
        case "type":
            kinds = definition if isinstance(definition, list) else [definition]
            return f"must be of type {' or '.join(map(str, kinds))}, not {_kind(value)}"
        case "enum":
            return f"must be one of {_names(definition)}{_got(value)}"
        case "const":
            return f"must be {_small(definition)}{_got(value)}"
        case str() if rule in _LIMITS:
            return _LIMITS[rule].format(_small(definition)) + _measured(value)
        case "pattern":
            return f"must match the pattern {_small(definition)}"
        case _:
            return f"breaks the rule {rule}: {_small(definition)}"


def _unknown(name: str, known: list[str]) -> str:
    by_lowered = {_lowered(other): other for other in known}
    near = get_close_matches(_lowered(name), by_lowered, n=1, cutoff=_LIKENESS)
    if near:
        return f'is not known here: did you mean "{by_lowered[near[0]]}"?'
    return f"is not known here: use {_names(sorted(known))}" if known else "is not known here"


def _lowered(name: str) -> str:
    """Make `positive_prompt` and `PositivePrompt` look like `positivePrompt`."""
    return name.replace("_", "").replace("-", "").lower()


def _none_fits(violation: Any) -> str:
    if not violation.context:  # oneOf: each form is right, which is one too many
        return "fits several forms that exclude each other: leave out what belongs to one of them"
    # The first problem with each form; a form is known by its place in the list.
    by_form = {child.schema_path[0]: child for child in reversed(violation.context)}
    problems = [by_form[form] for form in sorted(by_form)]
    if all(child.validator == "type" and not child.path for child in problems):
        kinds = [child.validator_value for child in problems]
        return _sentence("type", kinds, violation.instance)
    told = [next(_entries(child))["message"].rstrip(".") for child in problems[:_MOST_FORMS]]
    return f"fits none of the allowed forms: {'; or '.join(told)}"


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return f"{type(value).__name__.replace('int', 'integer').replace('float', 'number')} ({value})"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _got(value: object) -> str:
    """Tell a value that is short enough to be one of a set."""
    if isinstance(value, dict | list):
        return ""
    told = _small(value)
    return f", not {told}" if len(told) <= _MOST_CHARACTERS else ""


def _measured(value: object) -> str:
    """Tell a number, and of everything else its size."""
    if isinstance(value, int | float):
        return f", not {value}"
    return f", not {len(value)}" if isinstance(value, str | list) else ""


def _small(value: object) -> str:
    told = orjson.dumps(value).decode()
    return told if len(told) <= 5 * _MOST_CHARACTERS else f"{told[: 5 * _MOST_CHARACTERS]}..."


def _names(values: list[Any]) -> str:
    told = ", ".join(_small(value) for value in values[:_MOST_NAMES])
    return told if len(values) <= _MOST_NAMES else f"{told} and {len(values) - _MOST_NAMES} more"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
