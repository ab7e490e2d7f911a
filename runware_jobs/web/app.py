"""The application: its routes, its layers, and the life of its parts."""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from runware_jobs.settings import Settings

from . import batches, callbacks, dashboard, events, health, jobs, webhooks
from .access import AccessMiddleware
from .limits import BodyLimitMiddleware
from .parts import open_parts
from .problems import ProblemsMiddleware, answer_problem
from .shapes import ProblemShown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_HEARTBEAT_S: Final = 15.0

_DESCRIPTION: Final = """
A durable job queue in front of the Runware platform. Errors are RFC 9457 problems
with one of twelve codes. With API keys in the database, send
`Authorization: Bearer rwj_...`; without any, only this machine is served.
"""


def create_app(settings: Settings | None = None, *, heartbeat_s: float = _HEARTBEAT_S) -> FastAPI:
    """Make the application; a factory for any ASGI server.

    `settings` None reads the environment. Where that names no database, embedded
    engines are started or joined here. The application's lifespan closes what this
    opened; `app.state.parts` holds it.

    Raises:
        SettingsError: a setting is wrong.
    """
    parts = open_parts(settings or Settings(), heartbeat_s=heartbeat_s)
    app = FastAPI(
        title="runware-jobs",
        version=version("runware-jobs"),
        description=_DESCRIPTION,
        docs_url=None,  # both pages of FastAPI load their programs from a CDN
        redoc_url=None,
        lifespan=_lifespan,
        middleware=[
            Middleware(callbacks.QuietCallbacksMiddleware),
            Middleware(ProblemsMiddleware),
            Middleware(AccessMiddleware, engine=parts.engine),
            Middleware(BodyLimitMiddleware),
        ],
        exception_handlers={
            HTTPException: answer_problem,
            RequestValidationError: answer_problem,
        },
        responses={"4XX": _PROBLEM, "5XX": _PROBLEM},
    )
    app.state.parts = parts
    for module in (jobs, events, batches, webhooks, callbacks, health, dashboard):
        app.include_router(module.router)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await app.state.parts.aclose()


_PROBLEM: Final[dict[str, Any]] = {
    "description": "A problem (RFC 9457)",
    "content": {"application/problem+json": {"schema": ProblemShown.model_json_schema()}},
}
