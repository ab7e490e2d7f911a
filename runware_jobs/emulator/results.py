"""What the platform says about a task: the ACK, the items of a poll, the items of a pushed result.

Which fields an item carries follows from its task type and, where the bundle has one, from the response
schema of its model.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from . import prose
from .errors import Refusal, error_entry
from .identifiers import derived_uuid
from .kinds import FORMATS, UPLOAD_PHASES, media_input
from .numbers import whole
from .prices import MICRO_PER_USD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .models.catalogue import Catalogue
    from .rules.bundle import Bundle
    from .switches import Switches
    from .tasks import Task

_HTTP_TYPE = {
    "JPG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "SVG": "image/svg+xml",
    "MP4": "video/mp4",
    "WEBM": "video/webm",
    "MOV": "video/quicktime",
    "MKV": "video/x-matroska",
    "MP3": "audio/mpeg",
    "WAV": "audio/wav",
    "FLAC": "audio/flac",
    "OGG": "audio/ogg",
    "AAC": "audio/aac",
    "GLB": "model/gltf-binary",
    "ZIP": "application/zip",
}
_PHASE_TEXT = {
    "validated": "Model validated",
    "downloaded": "Model downloaded",
    "optimized": "Model optimized",
    "stored": "Model stored",
    "ready": "Model is ready to use",
}
# For a model without a schema of its own: what all models of the task type have in common.
_SEEDED = ("imageInference", "videoInference", "audioInference", "3dInference")
_CHECKED = ("imageInference", "videoInference")


class Maker(Protocol):
    """Whoever can look into media: results carry some of what is in them."""

    def render(self, task: Task, index: int) -> bytes:
        """The file of an item."""

    def boxes(self, task: Task) -> Sequence[tuple[int, int, int, int]]:
        """Where a masking task finds something: left, top, right, bottom in pixels of its input."""

    def subject(self, task: Task) -> str | None:
        """What the input of a tool shows, where the platform has made it."""

    def film_s(self, task: Task) -> float:
        """How long the film is that a tool was given."""


@dataclass(frozen=True, slots=True)
class _Fields:
    """Which of the fields that vary from model to model an item has."""

    seed: bool
    safety: bool
    outputs: bool = False
    structured_prompt: bool = False
    structured_data: bool = False
    reasoning: bool = False
    thought_signature: bool = False


class Results:
    """Builds result items."""

    def __init__(self, maker: Maker, bundle: Bundle, catalogue: Catalogue) -> None:
        self._maker = maker
        self._bundle = bundle
        self._catalogue = catalogue
        self._fields: dict[tuple[str, str], _Fields] = {}

    def acknowledgement(self, task: Task) -> dict[str, Any]:
        return {"taskType": task.task_type, "taskUUID": task.uuid}

    def polled(self, task: Task, now: float, switches: Switches) -> Iterator[tuple[bool, dict[str, Any]]]:
        """Every item of the task as of `now`, each with whether it is an entry of `errors`."""
        finished = task.finished(now)
        if task.kind.shape == "phases":
            first = min(finished, 1) if switches.upload_poll == "phases" else finished
            for reached in range(first, finished + 1):
                yield False, self._phase(task, reached)
            return
        for index in range(len(task.finish_at)):
            if index >= finished:
                item: dict[str, Any] = {
                    "taskType": task.task_type,
                    "taskUUID": task.uuid,
                    "status": "processing",
                }
                if task.kind.shows_progress:
                    item["progress"] = task.progress(index, now)
            elif task.failure is not None and task.failure.hits(index):
                form = task.failure.form or switches.failure_form
                if form == "A":
                    yield True, {**self.failure_entry(task), "status": "error"}
                    continue
                item = self.failed_item(task)
            else:
                item = self.item(task, index)
                item["status"] = "success"
            if switches.result_index:
                item["resultIndex"] = index
            yield False, item

    def item(self, task: Task, index: int) -> dict[str, Any]:
        """A successful item without a status, as sync delivery pushes it."""
        item: dict[str, Any] = {"taskType": task.task_type, "taskUUID": task.uuid}
        match task.kind.shape:
            case "media":
                self._add_media(item, task, index)
            case "text":
                self._add_text(item, task, index)
            case "files":
                item["outputs"] = {"files": [{"uuid": task.item_uuid(index), "url": asset_url(task, index)}]}
                if task.kind.name in _SEEDED:
                    item["seed"] = task.seed + index
            case "training":
                item["air"] = task.parameters()["importModel"]["air"]
                item["outputs"] = {"files": [{"uuid": task.item_uuid(index), "url": asset_url(task, index)}]}
            case "phases":
                return self._phase(task, index + 1)
        if task.include_cost:
            item["cost"] = task.price_micro_usd / MICRO_PER_USD
        return item

    def failed_item(self, task: Task) -> dict[str, Any]:
        """A failed item in form B, for `data`."""
        failure = task.failure
        if failure is None:
            raise ValueError(f"task {task.uuid} has no failure")
        return {
            "taskType": task.task_type,
            "taskUUID": task.uuid,
            "status": "error",
            "error": {"code": failure.code, "message": failure.message},
        }

    def failure_entry(self, task: Task) -> dict[str, Any]:
        """A failed item in form A, for `errors`."""
        failure = task.failure
        if failure is None:
            raise ValueError(f"task {task.uuid} has no failure")
        return error_entry(
            Refusal(failure.code, failure.message), task_type=task.task_type, task_uuid=task.uuid
        )

    def _phase(self, task: Task, finished: int) -> dict[str, Any]:
        """The upload phase reached; failed uploads end with `failed` in place of the last phase."""
        item: dict[str, Any] = {"taskType": task.task_type, "taskUUID": task.uuid}
        if finished == 0:
            return {**item, "status": "processing"}
        air = uploaded_air(task)
        if finished == len(UPLOAD_PHASES) and task.failure is not None:
            return {**item, "status": "failed", "message": task.failure.message, "air": air}
        phase = UPLOAD_PHASES[finished - 1]
        return {**item, "status": phase, "message": _PHASE_TEXT[phase], "air": air}

    def _add_media(self, item: dict[str, Any], task: Task, index: int) -> None:
        stem = task.kind.stem
        item[f"{stem}UUID"] = task.item_uuid(index)
        for output_type in task.output_types:
            match output_type:
                case "base64Data":
                    item[f"{stem}Base64Data"] = base64.b64encode(self._maker.render(task, index)).decode()
                case "dataURI":
                    encoded = base64.b64encode(self._maker.render(task, index)).decode()
                    item[f"{stem}DataURI"] = f"data:{http_type(output_format(task))};base64,{encoded}"
                case _:
                    item[f"{stem}URL"] = asset_url(task, index)
        if task.kind.name in {"controlNetPreprocess", "imageMasking"}:
            item["inputImageUUID"] = derived_uuid("input", media_input(task.parameters()))
        if task.kind.name == "imageMasking":
            item["detections"] = [
                dict(zip(("x_min", "y_min", "x_max", "y_max"), box, strict=True))
                for box in self._maker.boxes(task)
            ]
        fields = self._fields_of(task)
        if fields.seed:
            item["seed"] = task.seed + index
        if fields.safety:
            item["NSFWContent"] = False
        if fields.outputs or fields.structured_prompt:
            self._add_structure(item, task, index, fields)

    def _add_structure(self, item: dict[str, Any], task: Task, index: int, fields: _Fields) -> None:
        """What some models say about the parts of a picture."""
        prompt = str(task.parameters().get("positivePrompt") or self._catalogue.slug_of(task.model))
        if fields.outputs:
            item["outputs"] = {
                "layers": [{"uuid": task.item_uuid(index), "url": asset_url(task, index)}],
                "textBlocks": [{"text": prompt, "x_min": 0, "y_min": 0, "x_max": 1, "y_max": 1}],
            }
        if fields.structured_prompt:
            item["structuredPrompt"] = prose.structured_prompt(prompt, task.seed + index)

    def _add_text(self, item: dict[str, Any], task: Task, index: int) -> None:
        request = task.parameters()
        seed = task.seed + index
        match task.kind.name:
            case "textInference":
                self._add_reply(item, task, request, seed)
            case "promptEnhance":
                limit = whole(request.get("promptMaxLength"), prose.LONGEST_PROMPT)
                item["text"] = prose.enhanced_prompt(request["prompt"], seed, limit)
            case _:
                self._add_caption(item, task, request, seed)

    def _add_caption(self, item: dict[str, Any], task: Task, request: Mapping[str, Any], seed: int) -> None:
        reference = str(media_input(request))
        if self._fields_of(task).structured_data:
            item["structuredData"] = prose.classification(reference)
            return
        subject = self._maker.subject(task)
        if task.kind.of_film:
            item["text"] = prose.film_caption(reference, subject, self._maker.film_s(task), seed)
        else:
            item["text"] = prose.caption(reference, subject, seed)

    def _add_reply(self, item: dict[str, Any], task: Task, request: Mapping[str, Any], seed: int) -> None:
        settings = request.get("settings")
        settings = settings if isinstance(settings, dict) else {}
        limit = whole(settings.get("maxTokens", request.get("maxTokens")), 0)
        text = prose.reply(request["messages"], seed)
        item["text"] = prose.first_tokens(text, limit) if limit > 0 else text
        item["finishReason"] = "stop" if item["text"] == text else "length"
        fields = self._fields_of(task)
        if fields.reasoning:
            item["reasoningContent"] = prose.reasoning(request["messages"], seed)
        if fields.thought_signature:
            item["thoughtSignature"] = base64.b64encode(derived_uuid("thought", seed).encode()).decode()
        if request.get("includeUsage") is True:
            item["usage"] = _usage(request["messages"], item)

    def _fields_of(self, task: Task) -> _Fields:
        key = (task.model, task.kind.name)
        known = self._fields.get(key)
        if known is None:
            known = self._fields[key] = self._read_fields(task)
        return known

    def _read_fields(self, task: Task) -> _Fields:
        model = self._catalogue.find(task.model)
        names = (
            self._bundle.response_fields(model.air, model.architecture)
            if model is not None and model.task_type == task.kind.name
            else frozenset[str]()
        )
        if not names:
            return _Fields(seed=task.kind.name in _SEEDED, safety=task.kind.name in _CHECKED)
        return _Fields(
            seed="seed" in names,
            safety="NSFWContent" in names,
            outputs="outputs" in names and task.kind.shape == "media",
            structured_prompt="structuredPrompt" in names,
            structured_data="structuredData" in names,
            reasoning="reasoningContent" in names,
            thought_signature="thoughtSignature" in names,
        )


def uploaded_air(task: Task) -> str:
    """The AIR that an uploaded model has, or is given where the request names none."""
    request = task.parameters()
    return str(request.get("air") or f"{task.account[:8]}:{derived_uuid(task.uuid)[:8]}@{request['version']}")


def output_format(task: Task) -> str:
    """The format asked for, else the first of the kind."""
    return task.output_format or FORMATS[task.kind.media][0]


def asset_url(task: Task, index: int) -> str:
    """Where the item's file can be fetched while it lives."""
    return f"{task.base_url}/assets/{task.kind.media}/{task.item_uuid(index)}.{output_format(task).lower()}"


def http_type(file_format: str) -> str:
    """The Content-Type of an output format."""
    return _HTTP_TYPE[file_format]


def _usage(messages: Sequence[Mapping[str, Any]], item: Mapping[str, Any]) -> dict[str, int]:
    prompt = sum(prose.token_count(str(message.get("content"))) for message in messages)
    completion = prose.token_count(item["text"])
    usage = {
        "promptTokens": prompt,
        "completionTokens": completion,
        "totalTokens": prompt + completion,
    }
    if "reasoningContent" in item:
        thinking = prose.token_count(item["reasoningContent"])
        usage |= {"thinkingTokens": thinking, "totalTokens": prompt + completion + thinking}
    return usage
