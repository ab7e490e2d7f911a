"""Large requests beside the socket: a frame of many megabytes would hold up everything behind it.

A WebSocket carries one frame after the other, and a frame has one time limit for the whole of it. A
POST has a connection of its own, and is given up only when no byte of it moves any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .exchange import Exchange, Kind

if TYPE_CHECKING:
    from .envelope import Reply
    from .exchange import Transport

SOCKET_BYTES: Final = 256_000
"""Larger requests go by REST: a second and less of a slow uplink, and more than a full group of prompts."""

# These are answered the same way on both; results that arrive one by one need the socket.
_KINDS: Final = frozenset({Kind.SUBMIT, Kind.UTILITY})


class HeavyByRest:
    """A socket for all but large submits and uploads; to be connected is a matter of the socket alone."""

    def __init__(self, socket: Transport, rest: Transport) -> None:
        self._socket = socket
        self._rest = rest

    @property
    def is_connected(self) -> bool:
        """Whether the socket is up, as far as is known."""
        return self._socket.is_connected

    async def connect(self) -> None:
        """Connect the socket now. Does nothing when connected. Raises RunwareError."""
        await self._socket.connect()

    async def exchange(self, exchange: Exchange) -> Reply:
        """Write the request at most once, on the way that it is made for. Raises only CancelledError."""
        if exchange.kind in _KINDS and _size_bytes(exchange) > SOCKET_BYTES:
            return await self._rest.exchange(exchange)
        return await self._socket.exchange(exchange)

    async def close(self) -> None:
        """Close both; exchanges under way on the socket end as failed."""
        await self._socket.close()
        await self._rest.close()


def _size_bytes(exchange: Exchange) -> int:
    return sum(len(task.json) for task in exchange.group.tasks)
