"""An httpx client that resolves and judges a name in the one place where sockets open.

The connection goes to an address that was judged a moment before, while TLS checks
the certificate of the host name and the Host header carries it: the URL is never
rewritten to an address. (Rewriting it would also file two hosts of one address
under one pooled connection, with the certificate of only one of them checked.)

Follows no redirect, keeps no cookie, uses no proxy: each would be a way round the
guard. Decides nothing about answers.
"""

from __future__ import annotations

from contextlib import contextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Final

import httpcore
import httpx

from runware_jobs.core.addresses import AddressRefused, Refusal, locate

from .resolution import Resolver, ask_system, resolve

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterable, Iterator
    from types import TracebackType
    from typing import Self

# Beyond this a caller has forgotten its own bound; files are the scarcer thing.
_MAX_CONNECTIONS: Final = 256
# Short: receivers close idle connections, and a request on a closed one is a failure.
_KEEPALIVE_S: Final = 5.0
# A name with more addresses than this gains nothing from trying the next one.
_MAX_ADDRESSES_TRIED: Final = 4
# RFC 9110 names it `identity`: nothing is unpacked here, so nothing can be a bomb.
_HEADERS: Final = {"User-Agent": "runware-jobs", "Accept": "*/*", "Accept-Encoding": "identity"}


def open_client(
    *,
    allow_private: bool,
    timeout_s: float,
    resolver: Resolver = ask_system,
    ssl_context: ssl.SSLContext | None = None,
) -> httpx.AsyncClient:
    """Return a client whose every connection is guarded; close it with `aclose`.

    `timeout_s` bounds each wait of a request (connect, write, read, a place in the
    pool), not the whole: bound that with `asyncio.timeout`. Without `ssl_context`
    the usual authorities are trusted, or those of SSL_CERT_FILE and SSL_CERT_DIR.

    A request raises `AddressRefused` and `NameNotFound` besides httpx's own errors.
    """
    return httpx.AsyncClient(
        transport=_GuardedTransport(
            allow_private=allow_private,
            resolver=resolver,
            ssl_context=ssl_context if ssl_context is not None else httpx.create_ssl_context(),
        ),
        headers=_HEADERS,
        # One receiver's cookie must not reach the next one on the same host.
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=())),
        timeout=httpx.Timeout(timeout_s),
        follow_redirects=False,
        trust_env=False,
    )


class _GuardedTransport(httpx.AsyncBaseTransport):
    """Sends through one pool per scheme, since what may be connected to depends on it."""

    def __init__(self, *, allow_private: bool, resolver: Resolver, ssl_context: ssl.SSLContext) -> None:
        self._allow_private = allow_private
        self._pools = {
            scheme: httpcore.AsyncConnectionPool(
                ssl_context=ssl_context,
                max_connections=_MAX_CONNECTIONS,
                keepalive_expiry=_KEEPALIVE_S,
                network_backend=_GuardedBackend(scheme, allow_private=allow_private, resolver=resolver),
            )
            for scheme in ("https", "http")
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        location = locate(str(request.url), allow_private=self._allow_private)
        if request.url.raw_host.decode("ascii") != location.host:
            # httpx reads the same URL by its own rules, and the pool connects to that reading.
            raise AddressRefused("The host of the URL can be read in two ways.", reason=Refusal.HOST)
        with _httpx_errors():
            response = await self._pools[location.scheme].handle_async_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(
                        scheme=request.url.raw_scheme,
                        host=request.url.raw_host,
                        port=request.url.port,
                        target=request.url.raw_path,
                    ),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Answer(response),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()


class _GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens TCP connections to judged addresses only; everything of ours goes through here."""

    def __init__(self, scheme: str, *, allow_private: bool, resolver: Resolver) -> None:
        self._scheme = scheme
        self._allow_private = allow_private
        self._resolver = resolver
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        shown = f"[{host}]" if ":" in host else host
        target = await resolve(
            f"{self._scheme}://{shown}:{port}", allow_private=self._allow_private, resolver=self._resolver
        )
        tried = target.addresses[:_MAX_ADDRESSES_TRIED]
        share = timeout / len(tried) if timeout is not None else None
        for address in tried[:-1]:
            try:
                return await self._network.connect_tcp(
                    str(address), port, share, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue  # the next address of the same name; the last one's failure is reported
        return await self._network.connect_tcp(str(tried[-1]), port, share, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)


class _Answer(httpx.AsyncByteStream):
    """The body of an answer as it arrives; closing it early closes the connection."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _httpx_errors():
            async for chunk in self._response.aiter_stream():
                yield chunk

    async def aclose(self) -> None:
        with _httpx_errors():
            await self._response.aclose()


_HTTPX_ERRORS: Final[dict[type[Exception], type[httpx.TransportError]]] = {
    httpcore.ConnectTimeout: httpx.ConnectTimeout,
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.WriteTimeout: httpx.WriteTimeout,
    httpcore.PoolTimeout: httpx.PoolTimeout,
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.ReadError: httpx.ReadError,
    httpcore.WriteError: httpx.WriteError,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
    httpcore.UnsupportedProtocol: httpx.UnsupportedProtocol,
}


@contextmanager
def _httpx_errors() -> Iterator[None]:
    """Raise httpx's error of the same name where httpcore raises its own."""
    try:
        yield
    except tuple(_HTTPX_ERRORS) as error:
        raise _HTTPX_ERRORS[type(error)](str(error)) from error
