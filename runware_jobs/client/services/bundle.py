"""Read the schema bundle that ships with this package (`runware_jobs/schemas/`): data, read once.

Today's schemas by model, architecture and utility, and the legacy parameters that they have dropped.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import orjson

Schema = dict[str, Any]


@cache
def read_bundle(name: str) -> dict[str, Any]:
    """Give one file of the bundle by its name without ending. Shared: do not change what you get."""
    content: dict[str, Any] = orjson.loads((files("runware_jobs") / "schemas" / f"{name}.json").read_bytes())
    return content


def model_schema(air: str) -> Schema | None:
    """Give the request schema of a curated model, None for any other."""
    return _request_schema("models", air)


def architecture_schema(model: str) -> Schema | None:
    """Give the schema of a community model whose AIR names its architecture (`creator:architecture@version`)."""
    return _request_schema("architectures", model.partition(":")[2].partition("@")[0])


def utility_schema(task_type: str) -> Schema | None:
    """Give the schema of a utility task (`modelSearch` and its like), None for any other task type."""
    entries = read_bundle("utilities")["schemas"].values()
    return next((entry["requestSchema"] for entry in entries if entry["taskType"] == task_type), None)


def legacy_schema(task_type: str) -> Schema | None:
    """Give the schema of a task type that only the older SDKs know (`photoMaker`), None for any other."""
    legacy = read_bundle("legacy").get(task_type, {})
    if "title" not in legacy:
        return None
    return {
        "type": "object",
        "properties": legacy["properties"],
        "required": legacy.get("required", []),
        "additionalProperties": False,
    }


def with_legacy(schema: Schema, task_type: str) -> Schema:
    """Add what older SDKs documented and today's schemas have dropped; the platform decides about it."""
    legacy = read_bundle("legacy").get(task_type)
    if legacy is None:
        return schema
    properties = {**legacy.get("properties", {}), **schema.get("properties", {})}
    for name, values in legacy.get("values", {}).items():
        if name in properties:
            properties[name] = _with_values(properties[name], values)
    optional = set(legacy.get("optional", []))
    required = [name for name in schema.get("required", []) if name not in optional]
    return {**schema, "properties": properties, "required": required}


def operation_task_types() -> dict[str, str]:
    """Give the task type of each operation (`caption-image`), by its slug."""
    return {
        slug: entry["taskType"]
        for slug, entry in read_bundle("operations")["schemas"].items()
        if not slug.endswith("-inference")  # a modality's own class, no operation
    }


def _with_values(schema: Schema, values: list[Any]) -> Schema:
    rest = {rule: definition for rule, definition in schema.items() if rule not in {"const", "enum"}}
    if len(rest) == len(schema):  # it takes any value already
        return schema
    return {**rest, "enum": [*schema.get("enum", [schema.get("const")]), *values]}


def _request_schema(name: str, key: str) -> Schema | None:
    entry = read_bundle(name)["schemas"].get(key)
    return None if entry is None else entry["requestSchema"]
