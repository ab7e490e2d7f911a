"""Working requests: for any model one that its schema takes, with values that make something to look at."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from runware_jobs.emulator.identifiers import derived_int

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runware_jobs.emulator.rules.bundle import Entry, Schema

    from .catalogue import Model

_PROMPTS = (
    "A lighthouse on a rocky cliff at twilight",
    "A red sailboat crossing a calm bay at sunset",
    "A fox in an autumn forest, soft morning mist",
    "A night skyline in the rain, neon reflections",
    "Hot air balloons over rolling hills at dawn",
    "A cabin under northern lights in the snow",
)
_PICTURE = "https://example.com/photo.jpg"
_FILM = "https://example.com/video.mp4"
# By parameter, for what a type alone does not say.
_VALUES: Mapping[str, Any] = MappingProxyType(
    {
        "width": 1024,
        "height": 1024,
        "duration": 5,
        "prompt": "a quiet harbour",
        "messages": [{"role": "user", "content": "Explain quantum computing in two sentences."}],
        "speech": {"text": "Hello world", "voice": "design"},
        "importModel": {"air": "acme:watercolour@1", "name": "Watercolour"},
        "lyrics": "The sea is wide, the light is low",
        "triggerWord": "wtrclr",
        "seed": 42,
        "numberResults": 1,
    }
)
_INPUTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "training": {"dataset": "https://example.com/dataset.zip"},
        "tools": {"video": _FILM},
        "videoInference": {"image": _PICTURE},
        "audioInference": {"audio": "https://example.com/speech.mp3"},
    }
)
_TOOLS = ("upscale", "removeBackground")
_SHOWN_THOUGH_OPTIONAL = ("positivePrompt", "width", "height", "duration")


def sample_request(model: Model, entry: Entry, task_uuid: str) -> dict[str, Any]:
    """A request for the model: what it requires, a prompt, and a size where it takes one.

    `entry` holds its schemas; one whose results are films is given a film to work on.
    """
    schema = entry["requestSchema"]
    properties: dict[str, Schema] = schema["properties"]
    required = set(schema.get("required", ()))
    names = [name for name in properties if name in required or name in _SHOWN_THOUGH_OPTIONAL]
    request: dict[str, Any] = {"taskType": model.task_type, "taskUUID": task_uuid, "model": model.air}
    for name in names:
        if name not in request:
            request[name] = _value(name, properties[name], model)
    if "inputs" in request and model.task_type in _TOOLS:
        makes_films = "videoUUID" in (entry["responseSchema"] or {}).get("required", ())
        request["inputs"] = {"video": _FILM} if makes_films else {"image": _PICTURE}
    if ("width" in request) != ("height" in request):
        for name in {"width", "height"} & request.keys() - required:
            del request[name]
    return request


def example_prompt(model: Model) -> str:
    """What the model's example is about."""
    return _PROMPTS[derived_int(len(_PROMPTS), "prompt", model.air)]


def _value(name: str, schema: Schema, model: Model) -> Any:
    """A value for a parameter: a choice it leaves, what is known to suit it, or anything of its type."""
    choices = [schema["const"]] if "const" in schema else schema.get("enum")
    if choices is not None:
        return _closest(_VALUES.get(name), choices)
    known = {
        **_VALUES,
        "positivePrompt": example_prompt(model),
        "inputs": dict(_INPUTS.get(model.task_type, {"image": _PICTURE})),
    }
    return _within(known[name], schema) if name in known else _anything(name, schema, model)


def _anything(name: str, schema: Schema, model: Model) -> Any:
    match schema.get("type"):
        case "integer" | "number":
            return _within(1, schema)
        case "boolean":
            return True
        case "array":
            return [_value(name, schema.get("items", {"type": "string"}), model)]
        case "object":
            return {
                inner: _value(inner, schema["properties"][inner], model)
                for inner in schema.get("required", ())
            }
        case _:
            return _PICTURE


def _closest(wanted: Any, choices: Sequence[Any]) -> Any:
    """The wanted value where it may be chosen, else the nearest number, else the first choice."""
    if wanted in choices:
        return wanted
    numbers = [choice for choice in choices if isinstance(choice, int | float)]
    if numbers and isinstance(wanted, int | float):
        return min(numbers, key=lambda choice: abs(choice - wanted))
    return choices[0]


def _within(value: Any, schema: Schema) -> Any:
    if not isinstance(value, int | float):
        return value
    return max(schema.get("minimum", value), min(schema.get("maximum", value), value))
