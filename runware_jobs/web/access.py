"""Who is calling, and what they may do.

With a key: the key's tenant and scopes. Without any key in the database: only this
machine, as tenant `default`. That second door is narrow on purpose, because a web
page in a browser on this machine, or a proxy in front of us, also comes from
loopback: names other than this machine's, forwarded requests and cross-site
requests are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

from fastapi import Depends
from starlette.datastructures import Headers
from starlette.requests import Request  # noqa: TC002  FastAPI reads the annotation

from runware_jobs.core import callbacks
from runware_jobs.errors import InvalidJob
from runware_jobs.store.keys import EVERY_TENANT, Scope, find_key, has_keys, hash_key

from .problems import RequestRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncEngine
    from starlette.types import ASGIApp, Receive, Send
    from starlette.types import Scope as Connection

DEFAULT_TENANT: Final = "default"
PUBLIC_PATHS: Final = frozenset({"/healthz", "/readyz", "/openapi.json"})
"""Probes and the schema tell nothing about anybody's jobs; load balancers have no keys."""

PAGE_PATH: Final = "/"
PAGE_FILES: Final = "/dashboard/"
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LOCAL_HOST: Final = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?", re.ASCII)
_FORWARDING: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
_REMEDY: Final = "make a key with `runware-jobs keys create` and send it as `Authorization: Bearer rwj_...`"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls; `tenant` None sees and serves every tenant."""

    tenant: str | None
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Tell whether the caller has a scope; admin has each."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def writes_for(self, asked: str | None) -> str:
        """Name the tenant that a new job, batch or endpoint belongs to.

        Raises:
            RequestRefused: another tenant than the caller's was asked for.
            InvalidJob: every tenant was asked for; something new belongs to one.
        """
        if asked == EVERY_TENANT:
            raise InvalidJob(f"tenant {EVERY_TENANT!r} is no tenant's name", parameter="tenant")
        if self.tenant is None:
            return asked or DEFAULT_TENANT
        if asked not in {None, self.tenant}:
            raise RequestRefused(
                f"This key works for tenant {self.tenant!r} only: leave tenant out.",
                status=403,
                name="another-tenant",
                code="auth",
                parameter="tenant",
            )
        return self.tenant


class AccessMiddleware:
    """Finds out who calls before a byte of the body is read; puts `caller` into the request's state."""

    def __init__(self, app: ASGIApp, *, engine: AsyncEngine) -> None:
        self._app = app
        self._engine = engine

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Let a request through, or raise `RequestRefused`."""
        if scope["type"] == "http" and not _is_public(scope["path"]):
            caller = await self._caller(scope)
            scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)

    async def _caller(self, scope: Connection) -> Caller | None:
        """Find the caller; None only for the dashboard's page, which then asks for a key."""
        headers = Headers(scope=scope)
        given = headers.get("authorization")
        async with self._engine.connect() as connection:
            if given is not None:
                kind, _, token = given.partition(" ")
                key = (
                    await find_key(connection, hash_key(token.strip())) if kind.lower() == "bearer" else None
                )
                if key is None:
                    raise _unauthorized("This key is not known here, or was revoked")
                return Caller(None if key.tenant == EVERY_TENANT else key.tenant, key.scopes)
            keyed = await has_keys(connection)
        if not keyed:
            _require_this_machine(scope, headers)
            return Caller(DEFAULT_TENANT, frozenset(Scope))
        if scope["method"] in _SAFE_METHODS and (
            scope["path"].startswith(PAGE_FILES)
            or (scope["path"] == PAGE_PATH and "text/html" in headers.get("accept", ""))
        ):
            return None
        raise _unauthorized("A key is needed")


def _is_public(path: str) -> bool:
    # The platform has no key of ours: the token in the address stands for one.
    return path in PUBLIC_PATHS or path.startswith(callbacks.PATH)


def needs(scope: Scope) -> Callable[[Request], Caller]:
    """Make the dependency of a route that needs a scope."""

    def caller_with_scope(request: Request) -> Caller:
        caller: Caller | None = request.state.caller
        if caller is None:
            raise _unauthorized("A key is needed")
        if not caller.may(scope):
            raise RequestRefused(
                f"This key lacks the scope {scope}: use another, or make one with `runware-jobs keys create`.",
                status=403,
                name="scope-missing",
                code="auth",
            )
        return caller

    return caller_with_scope


Reader = Annotated[Caller, Depends(needs(Scope.READ))]
Enqueuer = Annotated[Caller, Depends(needs(Scope.ENQUEUE))]
Admin = Annotated[Caller, Depends(needs(Scope.ADMIN))]


def _unauthorized(what: str) -> RequestRefused:
    return RequestRefused(
        f"{what}: {_REMEDY}.",
        status=401,
        name="key-needed",
        code="auth",
        headers={"WWW-Authenticate": 'Bearer realm="runware-jobs"'},
    )


def _require_this_machine(scope: Connection, headers: Headers) -> None:
    """Let only this machine in while there are no keys.

    Raises:
        RequestRefused: the request came from elsewhere, or through something that did.
    """
    client = scope.get("client")
    if client is None or not _is_loopback(client[0]) or any(name in headers for name in _FORWARDING):
        raise _closed(f"Without any API key only this machine is served: {_REMEDY}.")
    host = headers.get("host", "").lower()
    if not _LOCAL_HOST.fullmatch(host):
        # A name that an attacker's DNS points to 127.0.0.1 makes a browser send his page's requests here.
        raise _closed(
            f"Without any API key the host must be localhost, 127.0.0.1 or [::1]. Otherwise {_REMEDY}."
        )
    if scope["method"] not in _SAFE_METHODS and _is_cross_site(headers, host):
        raise _closed(f"Without any API key a web page of another site may not change anything: {_REMEDY}.")


def _is_loopback(address: str) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


def _is_cross_site(headers: Headers, host: str) -> bool:
    """Read what a browser says of the page behind a request; programs say nothing."""
    if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
        return True
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc.lower() != host


def _closed(message: str) -> RequestRefused:
    return RequestRefused(message, status=403, name="this-machine-only", code="auth")
