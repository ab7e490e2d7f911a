"""Valid tasks to send; anything can be overridden by name."""

from __future__ import annotations

from typing import Any
from uuid import uuid4


def image(**values: Any) -> dict[str, Any]:
    """A valid image task."""
    return {
        "taskType": "imageInference",
        "taskUUID": str(uuid4()),
        "model": "runware:400@1",
        "positivePrompt": "a lighthouse by the sea",
        "width": 512,
        "height": 512,
        "deliveryMethod": "async",
        **values,
    }


def video(**values: Any) -> dict[str, Any]:
    """A valid video task."""
    task = {"taskType": "videoInference", "taskUUID": str(uuid4()), "model": "klingai:5@3", "duration": 5}
    return {**task, "positivePrompt": "waves at night", **values}


def training(**values: Any) -> dict[str, Any]:
    """A valid training task."""
    return {
        "taskType": "training",
        "taskUUID": str(uuid4()),
        "model": "runware:z-image@style-lora-training",
        "inputs": {"dataset": "https://files.example/set.zip"},
        "importModel": {"air": "acme:watercolour@1", "name": "Watercolour"},
        **values,
    }
