"""What networks do to a client's connection: a reset, an end in mid-sentence, a silence, a refusal.

ASGI has no words for these, so the server's HTTP protocol notes each connection's transport here, and the
endpoints look theirs up by the addresses in the scope.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, MutableMapping

_Key = tuple[tuple[str, int], tuple[str, int]]
_TRANSPORTS: MutableMapping[_Key, asyncio.Transport] = WeakValueDictionary()


def noting(protocol: type[asyncio.Protocol], breaks_at_once: Callable[[], bool]) -> type[asyncio.Protocol]:
    """The same server protocol, noting its connections, and breaking new ones when it is told to."""

    class NotingProtocol(protocol):  # type: ignore[valid-type, misc]  # the base is chosen at run time
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            if breaks_at_once():
                _abort(transport)
                return
            client, server = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
            if client and server:
                _TRANSPORTS[_key(client, server)] = transport

    return NotingProtocol


def reset(scope: MutableMapping[str, Any]) -> NoReturn:
    """Break the connection of an ASGI scope. Raises ConnectionResetError, which ends the endpoint.

    Without a real socket (an in-process transport) raising is all that can be done.
    """
    transport = _transport(scope)
    if transport is not None:
        _abort(transport)
    raise ConnectionResetError("connection reset by an injected fault")


def break_off(scope: MutableMapping[str, Any]) -> NoReturn:
    """End the connection properly in mid-sentence, once what was said has left. Raises like `reset`."""
    transport = _transport(scope)
    if transport is not None:
        transport.close()
    raise ConnectionResetError("connection ended by an injected fault")


def stop_reading(scope: MutableMapping[str, Any]) -> None:
    """Take nothing more from the client, not even pings; its bytes pile up unread."""
    transport = _transport(scope)
    if transport is not None:
        transport.pause_reading()


def _abort(transport: asyncio.Transport) -> None:
    raw: socket.socket | None = transport.get_extra_info("socket")
    if raw is not None:
        # Linger 0 makes the kernel send RST instead of FIN.
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _transport(scope: MutableMapping[str, Any]) -> asyncio.Transport | None:
    client, server = scope.get("client"), scope.get("server")
    return _TRANSPORTS.get(_key(client, server)) if client and server else None


def _key(client: Any, server: Any) -> _Key:
    return (str(client[0]), int(client[1])), (str(server[0]), int(server[1]))
