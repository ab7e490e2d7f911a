"""What the platform says about a task: the ACK, the items of a poll, the items of a pushed result."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .errors import Refusal, error_entry
from .identifiers import derived_uuid
from .kinds import FORMATS, UPLOAD_PHASES, media_input
from .prices import MICRO_PER_USD
from .prose import caption, enhanced_prompt, reply, token_count
from .tasks import Task

if TYPE_CHECKING:
    from .config import Switches

_HTTP_TYPE = {
    "JPG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "MP4": "video/mp4",
    "MP3": "audio/mpeg",
    "WAV": "audio/wav",
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

Renderer = Callable[[Task, int], bytes]


class Results:
    """Builds result items. `render` makes the bytes of an item, for answers that carry them inline."""

    def __init__(self, render: Renderer) -> None:
        self._render = render

    def acknowledgement(self, task: Task) -> dict[str, Any]:
        return {"taskType": task.task_type, "taskUUID": task.uuid}

    def polled(self, task: Task, now: float, switches: Switches) -> Iterator[tuple[bool, dict[str, Any]]]:
        """Every item of the task as of `now`, each with whether it is an entry of `errors`."""
        finished = task.finished(now)
        if task.kind.shape == "phases":
            yield False, self._phase(task, finished)
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
                item["text"] = self._text(task, index)
                if task.kind.name == "textInference":
                    self._add_usage(item, task)
            case "files":
                item["outputs"] = {"files": [{"uuid": task.item_uuid(index), "url": asset_url(task, index)}]}
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
        request = task.parameters()
        air = request.get("air") or f"{task.account[:8]}:{derived_uuid(task.uuid)[:8]}@{request['version']}"
        if finished == len(UPLOAD_PHASES) and task.failure is not None:
            return {**item, "status": "failed", "message": task.failure.message, "air": air}
        phase = UPLOAD_PHASES[finished - 1]
        return {**item, "status": phase, "message": _PHASE_TEXT[phase], "air": air}

    def _add_media(self, item: dict[str, Any], task: Task, index: int) -> None:
        stem = task.kind.stem
        item[f"{stem}UUID"] = task.item_uuid(index)
        if task.kind.name in {"controlNetPreprocess", "imageMasking"}:
            item["inputImageUUID"] = derived_uuid("input", media_input(task.parameters()))
        match task.output_type:
            case "base64Data":
                item[f"{stem}Base64Data"] = base64.b64encode(self._render(task, index)).decode()
            case "dataURI":
                encoded = base64.b64encode(self._render(task, index)).decode()
                item[f"{stem}DataURI"] = f"data:{http_type(output_format(task))};base64,{encoded}"
            case _:
                item[f"{stem}URL"] = asset_url(task, index)
        if task.kind.name in {"imageInference", "videoInference", "audioInference"}:
            item["seed"] = task.seed + index
            item["NSFWContent"] = False

    def _text(self, task: Task, index: int) -> str:
        request = task.parameters()
        match task.kind.name:
            case "textInference":
                return reply(request["messages"], task.seed + index)
            case "promptEnhance":
                return enhanced_prompt(request["prompt"], task.seed + index)
            case _:
                return caption(str(media_input(request)), task.seed + index)

    def _add_usage(self, item: dict[str, Any], task: Task) -> None:
        item["finishReason"] = "stop"
        request = task.parameters()
        if request.get("includeUsage") is True:
            prompt = sum(token_count(str(message.get("content"))) for message in request["messages"])
            completion = token_count(item["text"])
            item["usage"] = {
                "promptTokens": prompt,
                "completionTokens": completion,
                "totalTokens": prompt + completion,
            }


def output_format(task: Task) -> str:
    """The format asked for, else the first of the kind."""
    return task.output_format or FORMATS[task.kind.media][0]


def asset_url(task: Task, index: int) -> str:
    """Where the item's file can be fetched while it lives."""
    return f"{task.base_url}/assets/{task.kind.media}/{task.item_uuid(index)}.{output_format(task).lower()}"


def http_type(file_format: str) -> str:
    """The Content-Type of an output format."""
    return _HTTP_TYPE[file_format]
