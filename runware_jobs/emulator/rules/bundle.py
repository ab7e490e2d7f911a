"""The schema bundle: what the platform's schemas service knows, read from the files beside the package.

Only a reader: the files are data that others may read too. How requests are held against the schemas is
schema_rules.py's business.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

SHIPPED = Path(__file__).parents[2] / "schemas"

Schema = dict[str, Any]
Entry = dict[str, Any]

# Task types whose tools take a picture or a film, with the schema of each.
_TOOL_OPERATIONS: Mapping[str, str] = MappingProxyType(
    {"caption": "caption", "upscale": "upscale", "removeBackground": "remove-background"}
)
_OPERATIONS: Mapping[str, str] = MappingProxyType(
    {
        "imageInference": "image-inference",
        "videoInference": "video-inference",
        "audioInference": "audio-inference",
        "textInference": "text-inference",
        "3dInference": "3d-inference",
        "controlNetPreprocess": "controlnet-preprocess",
        "imageMasking": "masking",
        "promptEnhance": "prompt-enhance",
        "vectorize": "vectorize",
        "training": "training",
        "tools": "tools",
    }
)


# What the older SDKs offer for pictures of every model, though today's schemas have it for some models only.
_FOR_EVERY_MODEL: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "imageInference": {
            **dict.fromkeys(("negativePrompt", "scheduler"), "string"),
            **dict.fromkeys(("steps", "seed", "clipSkip"), "integer"),
            **dict.fromkeys(("strength", "CFGScale"), "number"),
            **dict.fromkeys(("refiner", "outpaint", "providerSettings"), "object"),
            **dict.fromkeys(("controlNet", "lora", "ipAdapters", "embeddings"), "array"),
        }
    }
)


class Bundle:
    """All schemas of one release. `version` is its timestamp, `YYYYMMDDhhmmss`."""

    def __init__(self, folder: Path) -> None:
        """Read the files of a folder; a missing one counts as empty."""
        self.folder = folder
        self.models = self._read("models")
        self.architectures = self._read("architectures")
        self.operations = self._read("operations")
        self.utilities = {entry["taskType"]: entry for entry in self._read("utilities").values()}
        self.results = self._read("results")
        self.legacy: dict[str, Entry] = self._decoded("legacy")

    def _decoded(self, name: str) -> dict[str, Any]:
        path = self.folder / f"{name}.json"
        decoded: dict[str, Any] = orjson.loads(path.read_bytes()) if path.is_file() else {}
        return decoded

    def _read(self, name: str) -> dict[str, Entry]:
        entries: dict[str, Entry] = self._decoded(name).get("schemas", {})
        return entries

    def operation(self, task_type: str, *, of_film: bool = False) -> Entry | None:
        """What holds for every model of a task type; None for a task type without one."""
        tool = _TOOL_OPERATIONS.get(task_type)
        if tool is not None:
            return self.operations.get(f"{tool}-{'video' if of_film else 'image'}")
        return self.operations.get(_OPERATIONS.get(task_type, ""))

    def response_fields(self, air: str, architecture: str | None = None) -> frozenset[str]:
        """The fields that results of a model may carry; empty for a model without a schema of its own."""
        entry = self.models.get(air) or self.architectures.get(architecture or "")
        schema = entry.get("responseSchema") if entry else None
        return frozenset(schema["properties"]) if schema else frozenset()


@lru_cache(maxsize=4)
def read_bundle(folder: Path = SHIPPED) -> Bundle:
    """The bundle of a folder, read once per process."""
    return Bundle(folder)


def with_legacy(schema: Schema, task_type: str, legacy: Entry | None) -> Schema:
    """The schema that also takes what older clients send for this task type."""
    if legacy is None:
        return schema
    general = {name: {"type": kind} for name, kind in _FOR_EVERY_MODEL.get(task_type, {}).items()}
    properties = {**general, **legacy["properties"], **schema["properties"]}
    for name, values in legacy.get("values", {}).items():
        properties[name] = _with_values(properties.get(name, {}), values)
    optional = legacy.get("optional", ())
    required = [name for name in schema.get("required", ()) if name not in optional]
    return {**schema, "properties": properties, "required": required}


def legacy_only(legacy: Entry) -> Schema:
    """The schema of a task type that only older clients send."""
    return {
        "type": "object",
        "properties": legacy["properties"],
        "required": legacy.get("required", []),
        "additionalProperties": False,
    }


def _with_values(schema: Schema, values: list[Any]) -> Schema:
    known = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if known is None:
        return schema
    rest = {name: value for name, value in schema.items() if name not in {"enum", "const"}}
    return {**rest, "enum": [*known, *(value for value in values if value not in known)]}
