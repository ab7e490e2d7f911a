"""The rules a task must pass before it is accepted: shape and ranges, nothing about money or duplicates.

Here are the platform's published rules that are the same for every model; what differs per model is in its
schema (schema_rules.py).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from runware_jobs.emulator.errors import Refusal
from runware_jobs.emulator.identifiers import is_uuid_v4
from runware_jobs.emulator.kinds import ALIASES, FORMATS, KINDS, Kind, media_input

from .schema_rules import SchemaRules, invalid, missing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runware_jobs.emulator.models.catalogue import Catalogue, Model
    from runware_jobs.emulator.switches import Switches

    from .bundle import Bundle

_AIR = re.compile(r"[A-Za-z0-9_.-]+:[A-Za-z0-9_.-]+@[A-Za-z0-9_.-]+")
# The sources contradict each other (2 to 3000, 1 to 10000): the wider one.
_PROMPT_LENGTH = (1, 10_000)
_SIDES: Mapping[str, tuple[int, int, int]] = {
    "imageInference": (128, 6144, 16),
    "videoInference": (128, 4096, 2),
}
_REQUIRED_FOR_UPLOAD = ("category", "architecture", "format", "name", "version", "downloadURL")
# What the JavaScript SDK sent before its version 1.1.21.
_FORMER_SPELLINGS = {"downloadUrl": "downloadURL", "heroImageUrl": "heroImageURL"}
_MIN_TTL_S = 60
_MAX_SEED = (1 << 63) - 1


def check_uuid(task: Mapping[str, Any]) -> Refusal | None:
    """The rule of every task but authentication and ping."""
    if "taskUUID" not in task:
        return Refusal("missingTaskUUID", "The required parameter 'taskUUID' is missing.", "taskUUID")
    if not is_uuid_v4(task["taskUUID"]):
        return Refusal(
            "invalidTaskUUID",
            "Invalid value for 'taskUUID' parameter. It must be a valid UUID v4 string, unique for each task.",
            "taskUUID",
        )
    return None


class TaskRules:
    """Every rule for requests: those that hold for all models, and the schema of the model asked for.

    How strictly is for the switch `strictness` to say.
    """

    def __init__(self, catalogue: Catalogue, bundle: Bundle) -> None:
        self._catalogue = catalogue
        self._schemas = SchemaRules(bundle)

    def check(self, task: Mapping[str, Any], kind: Kind, switches: Switches) -> Refusal | None:
        """The first rule that a task of this kind breaks, or None."""
        if task["taskType"] in ALIASES and switches.strictness == "strict":
            return unknown_task_type(task["taskType"])
        if switches.strictness != "strict":
            task = respelled(task)
        refusal = check_uuid(task) or self._check_model(task, kind, switches)
        if refusal is not None:
            return refusal
        name = task.get("model")
        model = self._catalogue.find(name) if name is not None else None
        is_bare = switches.strictness == "lenient" or model is None
        return (
            _check_prompt(task, kind, is_required=is_bare)
            or _check_sides(task, kind)
            or _check_count(task, kind)
            or _check_delivery(task, kind)
            or _check_output(task, kind)
            or _check_extras(task)
            or _check_inputs(task, kind)
            or _check_training(task, kind)
            or _check_upload(task, kind)
            or self._check_schema(task, kind, model, switches)
        )

    def check_utility(self, task: Mapping[str, Any], switches: Switches) -> Refusal | None:
        """The first fault of a utility's request by its schema, or None."""
        if switches.strictness == "lenient":
            return None
        legacy = switches.strictness == "schema"
        return self._schemas.check(task, str(task["taskType"]), None, legacy=legacy, of_film=False)

    def _check_schema(
        self, task: Mapping[str, Any], kind: Kind, model: Model | None, switches: Switches
    ) -> Refusal | None:
        if switches.strictness == "lenient":
            return None
        legacy = switches.strictness == "schema"
        judged = task
        if legacy and isinstance(task.get("outputType"), list):
            # One version of the Python SDK sent lists, which _check_output has looked through.
            judged = {**task, "outputType": task["outputType"][0]}
        if kind.shape == "training":
            # Its schema has no such parameter, yet every official client sends it; _check_delivery has judged it.
            judged = {name: value for name, value in judged.items() if name != "deliveryMethod"}
        if model is not None and task["model"] != model.air:
            judged = {**judged, "model": model.air}
        return self._schemas.check(judged, kind.name, model, legacy=legacy, of_film=kind.of_film)

    def _check_model(self, task: Mapping[str, Any], kind: Kind, switches: Switches) -> Refusal | None:
        model = task.get("model")
        if model is None:
            # An upload brings its model; older clients left it out where one was enough.
            may_lack = kind.shape == "phases" or (
                switches.strictness != "strict"
                and self._schemas.optional_model(str(task["taskType"]), kind.name)
            )
            return None if may_lack else missing("model")
        known = self._catalogue.find(model) if isinstance(model, str) else None
        if not isinstance(model, str) or (known is None and not _AIR.fullmatch(model)):
            return invalid("model", "It must be an AIR identifier such as 'runware:101@1'.")
        if known is not None and not known.private and known.task_type != kind.name:
            return Refusal(
                "invalidModel",
                f"The model '{model}' does not support taskType '{task['taskType']}'; it supports '{known.task_type}'.",
                "model",
            )
        return None


def respelled(task: Mapping[str, Any]) -> Mapping[str, Any]:
    """The task with parameters that were once spelled differently in their present spelling."""
    if not any(name in task for name in _FORMER_SPELLINGS):
        return task
    return {_FORMER_SPELLINGS.get(name, name): value for name, value in task.items()}


def unknown_task_type(value: Any) -> Refusal:
    """The refusal for a missing taskType or one that the platform does not have."""
    if value is None:
        return missing("taskType")
    return Refusal(
        "unsupportedTaskType",
        f"Unsupported 'taskType' {value!r}. Supported values are: {', '.join(KINDS)} and the utilities.",
        "taskType",
    )


def _check_prompt(task: Mapping[str, Any], kind: Kind, *, is_required: bool) -> Refusal | None:
    """`is_required` is false where a schema says whether the prompt may be left out."""
    low, high = _PROMPT_LENGTH
    length_rule = f"It must be a string between {low} and {high} characters."
    if kind.name == "textInference":
        return _check_messages(task)
    if kind.name == "promptEnhance":
        prompt = task.get("prompt")
        if prompt is None:
            return missing("prompt")
        return (
            None
            if isinstance(prompt, str) and prompt
            else invalid("prompt", "It must be a non-empty string.")
        )
    prompt = task.get("positivePrompt")
    if prompt is None:
        stands_alone = (
            (is_required or "positivePrompt" in task)
            and kind.needs_prompt
            and not any(task.get(name) for name in ("inputs", "seedImage", "speech"))
        )
        return missing("positivePrompt") if stands_alone else None
    if not isinstance(prompt, str) or not low <= len(prompt) <= high:
        return invalid("positivePrompt", length_rule)
    return None


def _check_messages(task: Mapping[str, Any]) -> Refusal | None:
    messages = task.get("messages")
    if messages is None:
        return missing("messages")
    if not isinstance(messages, list) or not messages:
        return invalid("messages", "It must be a non-empty array of {role, content}.")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("content") is None:
            return Refusal(
                "invalidMessages",
                f"Invalid value for 'messages[{index}]'. It must be an object with 'role' and 'content'.",
                f"messages.{index}.content",
            )
    if messages[-1].get("role") != "user":
        return invalid("messages", "The last message must have the role 'user'.")
    return None


def _check_sides(task: Mapping[str, Any], kind: Kind) -> Refusal | None:
    if kind.name not in _SIDES:
        return None
    low, high, step = _SIDES[kind.name]
    for side in ("width", "height"):
        value = task.get(side)
        if value is None:
            continue
        if not _is_int(value) or not low <= value <= high or value % step:
            return invalid(side, f"It must be an integer between {low} and {high}, and a multiple of {step}.")
    if ("width" in task) != ("height" in task):
        return Refusal(
            "missingDimensions", "'width' and 'height' must be given together.", ["width", "height"]
        )
    return None


def _check_count(task: Mapping[str, Any], kind: Kind) -> Refusal | None:
    name = kind.count_parameter
    if name is None or name not in task:
        return None
    if not _is_int(task[name]) or not 1 <= task[name] <= kind.max_results:
        return invalid(name, f"It must be an integer between 1 and {kind.max_results}.")
    return None


def _check_delivery(task: Mapping[str, Any], kind: Kind) -> Refusal | None:
    allowed = ["async"] if kind.async_only else ["sync", "async"]
    if kind.name == "textInference":
        allowed.append("stream")
    value = task.get("deliveryMethod")
    if value is not None and value not in allowed:
        return invalid("deliveryMethod", f"Supported values are: {', '.join(allowed)}.")
    return None


def _check_output(task: Mapping[str, Any], kind: Kind) -> Refusal | None:
    is_large = kind.media in {"video", "model", "archive", "any"}
    types = ("URL",) if is_large else ("URL", "base64Data", "dataURI")
    asked = task.get("outputType")
    if kind.shape == "media" and asked is not None:
        values = asked if isinstance(asked, list) and asked else [asked]
        if any(value not in types for value in values):
            return invalid("outputType", f"Supported values are: {', '.join(types)}.")
    formats = FORMATS[kind.media]
    asked = task.get("outputFormat")
    if kind.shape in {"media", "files"} and asked is not None and asked not in formats:
        return invalid("outputFormat", f"Supported values are: {', '.join(formats)}.")
    quality = task.get("outputQuality")
    if quality is not None and (not _is_int(quality) or not 20 <= quality <= 99):  # noqa: PLR2004  # the documented range, named in the message
        return invalid("outputQuality", "It must be an integer between 20 and 99.")
    return None


def _check_extras(task: Mapping[str, Any]) -> Refusal | None:
    ttl = task.get("ttl")
    if ttl is not None and (not _is_int(ttl) or ttl < _MIN_TTL_S):
        return invalid("ttl", f"It must be an integer of at least {_MIN_TTL_S} (seconds).")
    seed = task.get("seed")
    if seed is not None and (not _is_int(seed) or not -1 <= seed <= _MAX_SEED):
        return invalid("seed", f"It must be an integer between -1 and {_MAX_SEED}.")
    webhook = task.get("webhookURL")
    if webhook is not None and not (isinstance(webhook, str) and webhook.startswith(("http://", "https://"))):
        return invalid("webhookURL", "It must be a URL that starts with 'http://' or 'https://'.")
    duration = task.get("duration")
    if duration is not None and (
        isinstance(duration, bool) or not isinstance(duration, int | float) or duration <= 0
    ):
        return invalid("duration", "It must be a number of seconds above 0.")
    return None


def _check_inputs(task: Mapping[str, Any], kind: Kind) -> Refusal | None:
    return missing("inputs.image") if kind.needs_input and media_input(task) is None else None


def _check_training(task: Mapping[str, Any], kind: Kind) -> Refusal | None:
    if kind.shape != "training":
        return None
    inputs, target = task.get("inputs"), task.get("importModel")
    if not isinstance(inputs, dict) or not isinstance(inputs.get("dataset"), str):
        return missing("inputs.dataset")
    if not isinstance(target, dict):
        return missing("importModel")
    for name in ("air", "name"):
        if not isinstance(target.get(name), str):
            return missing(f"importModel.{name}")
    if not _AIR.fullmatch(target["air"]):
        return invalid("importModel.air", "It must be an AIR identifier such as 'acme:watercolour@1'.")
    return None


def _check_upload(task: Mapping[str, Any], kind: Kind) -> Refusal | None:
    if kind.shape != "phases":
        return None
    for name in _REQUIRED_FOR_UPLOAD:
        if not isinstance(task.get(name), str):
            return missing(name)
    air = task.get("air")
    if air is not None and not (isinstance(air, str) and _AIR.fullmatch(air)):
        return invalid("air", "It must be an AIR identifier such as 'acme:watercolour@1'.")
    return None


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
