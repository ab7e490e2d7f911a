"""How an item is worded where the sources disagree: the switches, applied to what results.py has built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .switches import Switches
    from .tasks import Task


def worded(item: dict[str, Any], task: Task, switches: Switches) -> dict[str, Any]:
    """The item as it is said in a push, a callback, or the archive. Changes and returns it."""
    if switches.cost_per == "task" and "cost" in item:
        item["cost"] = round(item["cost"] * _billed_items(task, switches), 6)
    if switches.training_file == "fileURL" and task.kind.shape == "training" and "outputs" in item:
        item["outputs"] = {"files": [{"fileURL": one["url"]} for one in item["outputs"]["files"]]}
    return item


def _billed_items(task: Task, switches: Switches) -> int:
    places = range(len(task.finish_at))
    if task.failure is None or switches.bill_failures:
        return len(places)
    return sum(1 for place in places if not task.failure.hits(place))


def worded_poll(item: dict[str, Any], task: Task, switches: Switches) -> dict[str, Any]:
    """The item as getResponse says it. Changes and returns it."""
    if switches.poll_task_type != "original":
        item["taskType"] = switches.poll_task_type
    status = item.get("status")
    if switches.upload_poll == "processing" and task.kind.shape == "phases":
        if status not in {"ready", "failed"}:
            item = {"taskType": item["taskType"], "taskUUID": task.uuid, "status": switches.running_status}
    elif status == "processing":
        item["status"] = switches.running_status
    return worded(item, task, switches)
