"""Breaking a client's connection the way networks do: a TCP reset, without a goodbye.

ASGI has no word for that, so the server's HTTP protocol notes each connection's transport here, and the
endpoints look theirs up by the addresses in the scope.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    import asyncio
    from collections.abc import MutableMapping

_Key = tuple[tuple[str, int], tuple[str, int]]
_TRANSPORTS: MutableMapping[_Key, asyncio.Transport] = WeakValueDictionary()


def noting(protocol: type[asyncio.Protocol]) -> type[asyncio.Protocol]:
    """The same server protocol, noting its connections for `reset`."""

    class NotingProtocol(protocol):  # type: ignore[valid-type, misc]  # the base is chosen at run time
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            client, server = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
            if client and server:
                _TRANSPORTS[_key(client, server)] = transport

    return NotingProtocol


def reset(scope: MutableMapping[str, Any]) -> None:
    """Break the connection of an ASGI scope. Raises ConnectionResetError, which ends the endpoint.

    Without a real socket (an in-process transport) raising is all that can be done.
    """
    client, server = scope.get("client"), scope.get("server")
    transport = _TRANSPORTS.get(_key(client, server)) if client and server else None
    if transport is not None:
        raw: socket.socket | None = transport.get_extra_info("socket")
        if raw is not None:
            # Linger 0 makes the kernel send RST instead of FIN.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    raise ConnectionResetError("connection reset by an injected fault")


def _key(client: Any, server: Any) -> _Key:
    return (str(client[0]), int(client[1])), (str(server[0]), int(server[1]))
