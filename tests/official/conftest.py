"""The official clients, pointed at the emulator: nothing of theirs is changed but the base URLs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.official.node_runs import run_once
from tests.official.python_sdk import official_client, point_services_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from runware import Runware

    from tests.official.node_runs import Reports
    from tests.support.emulator_process import EmulatorProcess


@pytest.fixture
def official_emulator(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> EmulatorProcess:
    """The emulator, empty; the Python SDK finds its schemas and content services there too."""
    point_services_at(emulator.address, monkeypatch)
    return emulator


@pytest.fixture(params=["rest", "websocket"])
def transport(request: pytest.FixtureRequest) -> str:
    """Both ways in which the Python SDK talks to the platform."""
    return str(request.param)


@pytest.fixture
async def client(official_emulator: EmulatorProcess, transport: str) -> AsyncIterator[Runware]:
    """The Python SDK as a user opens it, once per transport."""
    async with official_client(official_emulator, transport) as opened:
        yield opened


@pytest.fixture
async def rest(official_emulator: EmulatorProcess) -> AsyncIterator[Runware]:
    """The Python SDK over REST."""
    async with official_client(official_emulator, "rest") as opened:
        yield opened


@pytest.fixture
async def websocket(official_emulator: EmulatorProcess) -> AsyncIterator[Runware]:
    """The Python SDK over its WebSocket."""
    async with official_client(official_emulator, "websocket") as opened:
        yield opened


@pytest.fixture(scope="session")
def js_sdk(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """What every scenario of `@runware/sdk-js` came to."""
    return run_once("sdk_js.mjs", tmp_path_factory)


@pytest.fixture(scope="session")
def vercel_provider(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """What every scenario of `@runware/ai-sdk-provider` came to."""
    return run_once("ai_sdk_provider.mjs", tmp_path_factory)
