"""What is known of single parameters beyond the published type hints: ranges, closed sets, nested fields.

Nothing here is a guess: each line names its source. "PROTOCOL n" is a section of the wire protocol's
reference, "seed n" one of the SDK documents that the client is held against. Where two sources differ,
the wider rule stands, because the platform decides in any case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fact:
    """`says` is laid over the schema of `parameter`; `task_types` empty means every task type that has it."""

    parameter: str
    says: Schema
    source: str
    task_types: tuple[str, ...] = ()


_MEDIUM = {"type": ["string", "object"]}  # PROTOCOL 5: a string; 003's SDK also sends objects
_IMAGE = {"properties": {"image": _MEDIUM}}
_IMAGE_OR_VIDEO = {
    "properties": {"image": _MEDIUM, "video": _MEDIUM},
    "anyOf": [{"required": ["image"]}, {"required": ["video"]}],
}

REQUEST_FACTS = (
    Fact("outputQuality", {"minimum": 20, "maximum": 99}, "PROTOCOL 5"),
    Fact("ttl", {"minimum": 60}, "PROTOCOL 5"),
    Fact("seed", {"maximum": 2**53 - 1}, "seed 003, v1.1.34"),
    Fact(
        "positivePrompt",
        {"minLength": 1, "maxLength": 10_000},
        "PROTOCOL 1.5, the wider of two",
        ("imageInference",),
    ),
    Fact("promptVersions", {"minimum": 1, "maximum": 5}, "seeds 003 and 004, PROTOCOL 6.1"),
    Fact("promptMaxLength", {"minimum": 1, "maximum": 380}, "seeds 003 and 004"),
    Fact("deliveryMethod", {"enum": ["sync", "async", "stream"]}, "PROTOCOL 3.1", ("textInference",)),
    Fact("deliveryMethod", {"enum": ["sync", "async"]}, "PROTOCOL 3.1"),
    Fact(
        "safety",
        {
            "properties": {
                "checkContent": {"type": "boolean"},
                "mode": {"type": "string", "enum": ["none", "fast", "full"]},
            }
        },
        "PROTOCOL 5",
        ("videoInference",),
    ),
    Fact("safety", {"properties": {"checkContent": {"type": "boolean"}}}, "PROTOCOL 5"),
    Fact(
        "messages",
        {"items": {"type": "object", "properties": {"role": {"type": "string"}}, "required": ["role"]}},
        "seed 001, PROTOCOL 6.1",
    ),
    Fact(
        "inputs", _IMAGE | {"required": ["image"]}, "PROTOCOL 6.1", ("controlNetPreprocess", "imageMasking")
    ),
    Fact("inputs", _IMAGE_OR_VIDEO, "PROTOCOL 6.1", ("upscale", "removeBackground", "caption")),
    Fact("inputs", _IMAGE, "PROTOCOL 6.1", ("vectorize",)),
    Fact(
        "inputs",
        {"properties": {"dataset": {"type": "string"}}, "required": ["dataset"]},
        "PROTOCOL 7",
        ("training",),
    ),
    Fact(
        "importModel",
        {
            "properties": {
                "air": {"type": "string"},
                "name": {"type": "string"},
                "version": {"type": "string"},
                "shortDescription": {"type": "string"},
                "private": {"type": "boolean"},
                "heroImageURL": {"type": "string"},
                "uniqueIdentifier": {"type": "string"},
                "architecture": {"type": "string"},
                "category": {"type": "string"},
            },
            "required": ["air", "name"],
        },
        "PROTOCOL 7",
        ("training",),
    ),
    Fact(
        "lora",
        {
            "items": {
                "type": "object",
                "properties": {"model": {"type": ["string", "integer"]}, "weight": {"type": "number"}},
                "required": ["model"],
            }
        },
        "seed 003",
    ),
    Fact(
        "embeddings",
        {
            "items": {
                "type": "object",
                "properties": {"model": {"type": "string"}, "weight": {"type": "number"}},
                "required": ["model"],
            }
        },
        "seed 003",
    ),
    Fact(
        "ipAdapters",
        {
            "items": {
                "type": "object",
                "properties": {
                    "model": {"type": "string"},
                    "weight": {"type": "number"},
                    "guideImage": {"type": "string"},
                },
                "required": ["model"],
            }
        },
        "seed 003",
    ),
    Fact(
        "controlNet",
        {
            "items": {
                "type": "object",
                "properties": {
                    "model": {"type": "string"},
                    "guideImage": {"type": "string"},
                    "weight": {"type": "number"},
                    "startStep": {"type": "number"},
                    "startStepPercentage": {"type": "number"},
                    "endStep": {"type": "number"},
                    "endStepPercentage": {"type": "number"},
                    "controlMode": {"type": "string", "enum": ["prompt", "controlnet", "balanced"]},
                },
                "required": ["model"],
            }
        },
        "seed 003, table of the ControlNet parameters",
    ),
    Fact(
        "outpaint",
        {"properties": {side: {"type": "number"} for side in ("top", "right", "bottom", "left", "blur")}},
        "seed 003",
    ),
    Fact(
        "acceleratorOptions",
        {
            "properties": {
                "teaCache": {"type": "boolean"},
                "teaCacheDistance": {"type": "number"},
                "deepCache": {"type": "boolean"},
                "deepCacheInterval": {"type": "number"},
                "deepCacheBranchId": {"type": "number"},
            }
        },
        "seed 003, v1.1.39, and the types of the SDK it describes",
        ("imageInference",),
    ),
    Fact(
        "advancedFeatures",
        {"properties": {"layerDiffuse": {"type": "boolean"}}},
        "seed 003, v1.1.39, and the types of the SDK it describes",
        ("imageInference",),
    ),
    Fact("operation", {"enum": ["upload", "delete"]}, "PROTOCOL 6.2", ("mediaStorage",)),
    Fact(
        "groupBy",
        {"items": {"type": "string", "enum": ["date", "model", "apiKey"]}},
        "PROTOCOL 6.4",
        ("accountManagement",),
    ),
    Fact("defaultSteps", {"minimum": 1, "maximum": 100}, "PROTOCOL 6.3"),
    Fact("defaultCFG", {"minimum": 0, "maximum": 30}, "PROTOCOL 6.3"),
    Fact("defaultStrength", {"minimum": 0, "maximum": 1}, "PROTOCOL 6.3"),
    Fact("defaultWeight", {"minimum": -4, "maximum": 4}, "PROTOCOL 6.3"),
    Fact(
        "tags",
        {"maxItems": 100, "items": {"type": "string", "maxLength": 400}},
        "PROTOCOL 1.5",
        ("modelUpload",),
    ),
    Fact("shortDescription", {"minLength": 2, "maxLength": 40_000}, "PROTOCOL 1.5", ("modelUpload",)),
    Fact("comment", {"minLength": 2, "maxLength": 1_000}, "PROTOCOL 1.5", ("modelUpload",)),
    Fact(
        "positiveTriggerWords",
        {"type": ["string", "array"], "items": {"type": "string"}},
        "PROTOCOL 15, a string or a list",
        ("modelUpload",),
    ),
)

RESPONSE_FACTS = (
    Fact("progress", {"minimum": 0, "maximum": 100}, "PROTOCOL 3.3"),
    Fact(
        "detections",
        {
            "items": {
                "type": "object",
                "properties": {side: {"type": "number"} for side in ("x_min", "y_min", "x_max", "y_max")},
            }
        },
        "seed 003, PROTOCOL 6.1",
    ),
    Fact(
        "usage",
        {
            "properties": {
                "promptTokens": {"type": "integer"},
                "completionTokens": {"type": "integer"},
                "totalTokens": {"type": "integer"},
                "thinkingTokens": {"type": "integer"},
            }
        },
        "PROTOCOL 6.1",
        ("textInference",),
    ),
    Fact(
        "error",
        {"properties": {"code": {"type": "string"}, "message": {"type": "string"}}},
        "PROTOCOL 3.3",
        ("getResponse",),
    ),
)

# Canonical results that name less than the platform sends: for a video they carry other fields than for
# an image, and an image's UUID is not promised (PROTOCOL 6.1; seed 003, v1.2.0).
_MEDIA_FIELDS = ("videoUUID", "videoURL", "mediaUUID", "mediaURL")
RESULT_FIELDS = {"upscale": _MEDIA_FIELDS, "removeBackground": _MEDIA_FIELDS}
RESULT_FIELDS_NOT_PROMISED = {"upscale": ("imageUUID",), "removeBackground": ("imageUUID",)}


def widen_result(schema: Schema, task_type: str) -> None:
    """Add the fields that a canonical result of `task_type` may carry, and release those not promised."""
    schema["properties"].update({name: {"type": "string"} for name in RESULT_FIELDS.get(task_type, ())})
    released = RESULT_FIELDS_NOT_PROMISED.get(task_type, ())
    schema["required"] = [name for name in schema["required"] if name not in released]


def add_facts(schema: Schema, task_type: str, facts: tuple[Fact, ...]) -> None:
    """Lay the facts over the properties of `schema`; of two that fit, the one named first stands.

    A parameter that a model leaves a choice of kinds (`anyOf`) or has closed already is left as it is.
    """
    told = set()
    for fact in facts:
        known = schema["properties"].get(fact.parameter)
        if known is None or fact.parameter in told or "anyOf" in known or "enum" in known or "const" in known:
            continue
        if not fact.task_types or task_type in fact.task_types:
            known.update(fact.says)
            told.add(fact.parameter)
