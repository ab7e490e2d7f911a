"""Pictures to hand to tools, and the shortest way to a finished item."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from tests.emulator.conftest import Still

_ASYNC_BY_ITSELF = ("training",)


def picture(size: tuple[int, int] = (96, 64)) -> Image.Image:
    """A dark disc with a stripe in the middle of a pale ground."""
    image = Image.new("RGB", size, (235, 240, 245))
    width, height = size
    draw = ImageDraw.Draw(image)
    draw.ellipse((width * 0.25, height * 0.15, width * 0.75, height * 0.9), fill=(90, 40, 30))
    draw.rectangle((width * 0.35, height * 0.45, width * 0.65, height * 0.55), fill=(220, 160, 40))
    return image


def data_uri(image: Image.Image) -> str:
    """The picture as PNG in a data URI."""
    out = io.BytesIO()
    image.save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


async def uploaded(still: Still, image: Image.Image) -> str:
    """The UUID under which the platform keeps the picture."""
    task = {
        "taskType": "mediaStorage",
        "taskUUID": str(uuid4()),
        "operation": "upload",
        "media": data_uri(image),
    }
    uuid: str = (await still.send(task)).json()["data"][0]["mediaUUID"]
    return uuid


async def finished(still: Still, **values: Any) -> list[dict[str, Any]]:
    """Every item of a task, after it has been sent and its time has passed."""
    task = {"taskUUID": str(uuid4()), **values}
    if task["taskType"] not in _ASYNC_BY_ITSELF:
        task.setdefault("deliveryMethod", "async")
    answer = (await still.send(task)).json()
    assert "errors" not in answer, answer
    still.pass_time(7200)
    polled = await still.poll(task["taskUUID"])
    assert "errors" not in polled, polled
    items: list[dict[str, Any]] = polled["data"]
    return items


async def result_of(still: Still, **values: Any) -> dict[str, Any]:
    """The one item of a task."""
    items = await finished(still, **values)
    assert len(items) == 1, items
    return items[0]
