"""From a URL to the addresses that may be connected to: one question, every answer judged.

Opens no connection. What it returns is what `transport` connects to; the name is
not asked for again in between, so an answer cannot change after it was judged
(DNS rebinding).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runware_jobs.core.addresses import check_addresses, locate, parse_address
from runware_jobs.errors import RunwareJobsError

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

# Host and port to every address of it, as text, best first.
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]


class NameNotFound(RunwareJobsError):
    """The host has no address now; nothing was sent. It may have one later."""

    code = "network"
    retryable = True


@dataclass(frozen=True, slots=True)
class Target:
    """A URL and the judged addresses of its host, best first, never empty."""

    url: str
    host: str
    port: int
    addresses: tuple[IPv4Address | IPv6Address, ...]


async def ask_system(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver, in a thread of the loop's executor.

    Raises:
        OSError: no answer, or the answer that there is none.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [str(address[0]) for *_, address in found]


async def resolve(url: str, *, allow_private: bool, resolver: Resolver = ask_system) -> Target:
    """Resolve the host of a URL, once, and judge every address of it.

    Raises:
        AddressRefused: the URL, or any address of its host, is not one that we call.
        NameNotFound: the host has no address now.
    """
    location = locate(url, allow_private=allow_private)
    if location.literal is not None:
        return Target(location.url, location.host, location.port, (location.literal,))
    try:
        answers = await resolver(location.host, location.port)
    except OSError as error:
        raise NameNotFound(f"The name '{location.host}' could not be resolved.") from error
    addresses = tuple(dict.fromkeys(parse_address(answer) for answer in answers))
    if not addresses:
        raise NameNotFound(f"The name '{location.host}' has no address.")
    check_addresses(location, addresses, allow_private=allow_private)
    return Target(location.url, location.host, location.port, addresses)
