"""The official Python SDK against the emulator: how it is opened, and what a result's file is."""

from __future__ import annotations

import base64
import io
from random import Random
from typing import TYPE_CHECKING, Any

import httpx
from PIL import Image
from runware import Runware

if TYPE_CHECKING:
    import pytest

    from tests.support.emulator_process import EmulatorProcess

_DRAWN_WITHIN_S = 60


def official_client(emulator: EmulatorProcess, transport: str, **config: Any) -> Runware:
    """Make a client that knows another address, and is otherwise as it comes."""
    return Runware(
        **{
            "api_key": "studio.key",
            "transport": transport,
            "http_base_url": emulator.http_base_url,
            "ws_base_url": emulator.ws_base_url,
            "serverless_base_url": f"{emulator.address}/serverless",
            **config,
        }
    )


def point_services_at(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the two base URLs that the SDK keeps as constants, wherever it has copied them to."""
    monkeypatch.setattr("runware.client.SCHEMAS_BASE_URL", f"{address}/schemas")
    monkeypatch.setattr("runware.validate.SCHEMAS_BASE_URL", f"{address}/schemas")
    monkeypatch.setattr("runware.content.CONTENT_BASE_URL", f"{address}/content")


def picture(width: int = 96, height: int = 64) -> str:
    """Draw a small PNG with something in its middle, as a data URI."""
    image = Image.new("RGB", (width, height), "white")
    image.paste((200, 40, 40), (width // 4, height // 4, 3 * width // 4, 3 * height // 4))
    return _data_uri(image)


def noise(width: int, height: int) -> str:
    """Draw a PNG that no format makes small, as a data URI."""
    return _data_uri(Image.frombytes("RGB", (width, height), Random(1).randbytes(width * height * 3)))


def fetch(url: str) -> httpx.Response:
    """Download a result's file."""
    return httpx.get(url, timeout=_DRAWN_WITHIN_S).raise_for_status()


def size_of(url: str) -> tuple[int, int]:
    """Download a picture and read its width and height."""
    with Image.open(io.BytesIO(fetch(url).content)) as image:
        return image.size


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
