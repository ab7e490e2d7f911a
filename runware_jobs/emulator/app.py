"""The emulator as an ASGI application: routes, the platform's life, and the state file's."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute

from .admin import admin_routes
from .assets import Assets, get_asset
from .clock import Clock, SystemClock
from .config import Config
from .deposits import Deposits
from .protocol import Platform
from .rest import post_tasks
from .services.content import content_routes
from .services.schemas import schema_routes
from .services.serverless import Invocations, serverless_routes
from .sessions import Sessions
from .state import StateFile
from .webhooks import Webhooks
from .websocket import accept_socket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

_SAVE_EVERY_S = 1.0


def create_app(config: Config | None = None, *, clock: Clock | None = None) -> Starlette:
    """The emulator, ready for any ASGI server or an in-process transport.

    `app.state.platform` is the platform behind it. Without a lifespan (httpx.ASGITransport) everything
    works but the state file. Raises ValueError for a registry file or fault rule that cannot be used.
    """
    chosen = config or Config()
    assets = Assets()
    platform = Platform(chosen, clock or SystemClock(), assets)
    assets.attach(platform)
    webhooks, deposits = Webhooks(platform), Deposits(platform, assets)
    platform.watchers = [webhooks.watch, deposits.watch]
    app = Starlette(
        routes=[
            Route("/v1", post_tasks, methods=["POST"]),
            WebSocketRoute("/v1", accept_socket),
            Route("/assets/{kind}/{name}", get_asset),
            Mount("/_emulator", routes=admin_routes()),
            Route("/_emulator", _to_page),
            Route("/", _to_page),
            *schema_routes(),
            *content_routes(),
            *serverless_routes(),
        ],
        lifespan=_lifespan,
    )
    app.state.platform = platform
    app.state.assets = assets
    app.state.webhooks = webhooks
    app.state.deposits = deposits
    app.state.sessions = Sessions()
    app.state.invocations = Invocations()
    app.state.state_file = None
    return app


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    platform: Platform = app.state.platform
    path = platform.config.state_path
    state_file = StateFile(path) if path is not None else None
    app.state.state_file = state_file
    if state_file is not None:
        state_file.load(platform)
        platform.save = partial(state_file.save_promises, platform)
        _save_regularly(platform, state_file)
    platform.schedule.start()
    try:
        yield
    finally:
        platform.schedule.stop()
        await app.state.webhooks.aclose()
        await app.state.deposits.aclose()
        if state_file is not None:
            state_file.save(platform)
            state_file.close()


def _save_regularly(platform: Platform, state_file: StateFile) -> None:
    def save(_argument: object) -> None:
        state_file.save(platform)
        platform.schedule.call_at(platform.clock.now_s() + _SAVE_EVERY_S, save, None)

    save(None)


async def _to_page(_request: Request) -> Response:
    return RedirectResponse("/_emulator/")
