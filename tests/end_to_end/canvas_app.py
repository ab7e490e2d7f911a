"""A user's own Celery application, which shares a broker and our result backend with the queue.

Its worker is started by `test_canvas.py` as a user starts it: `celery -A canvas_app worker`.
"""

from __future__ import annotations

import base64
import io
import json
import os
import urllib.request
from pathlib import Path
from typing import Any

from celery import Celery
from PIL import Image

BACKEND = f"runware_jobs+{os.environ['RUNWARE_JOBS_DATABASE_URL']}"
app = Celery("pictures", broker=os.environ["RUNWARE_JOBS_BROKER_URL"], backend=BACKEND)
app.conf.update(task_default_queue="pictures", worker_prefetch_multiplier=1)


def _note(**what: Any) -> None:
    with Path(os.environ["CANVAS_NOTES"]).open("a") as notes:
        notes.write(json.dumps(what) + "\n")


@app.task(name="pictures.shrink")
def shrink(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Make the params of a second generation from the picture of the first."""
    with urllib.request.urlopen(results[0]["imageURL"], timeout=20) as answer:
        picture = Image.open(io.BytesIO(answer.read()))
    small = picture.convert("RGB").resize((512, 512))
    content = io.BytesIO()
    small.save(content, "JPEG", quality=60)
    seed = base64.b64encode(content.getvalue()).decode()
    return {
        "model": "runware:400@1",
        "positivePrompt": "the same, at night",
        "width": 512,
        "height": 512,
        "referenceImages": [f"data:image/jpeg;base64,{seed}"],
    }


@app.task(name="pictures.collect")
def collect(parts: list[Any]) -> list[Any]:
    """Give what the parts of a chord gave, and note that it was called."""
    _note(task="collect", parts=len(parts))
    return [_seed(part) for part in parts]


def _seed(part: Any) -> Any:
    match part:
        case [{"seed": seed}] | {"seed": seed} | [seed]:
            return seed
        case _:
            return part


@app.task(name="pictures.word")
def word(value: Any) -> Any:
    """Give a word: a part of a chord that is no job."""
    return value


@app.task(name="pictures.explode")
def explode(_: Any = None) -> None:
    """Fail."""
    raise ValueError("exploded")


@app.task(name="pictures.sorry", bind=True)
def sorry(self: Any, task_id: str) -> None:
    """Note which task is said to have failed."""
    _note(task="sorry", of=task_id, id=self.request.id)
