"""A name server of a test's own, on a real socket, that answers differently each time it is asked; and one who asks it."""

from __future__ import annotations

import asyncio
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import count
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

A, AAAA, CNAME = 1, 28, 5
_HEADER = struct.Struct("!6H")
_QUESTION = struct.Struct("!2H")
_RECORD = struct.Struct("!2HIH")
_ANSWER, _RECURSION = 0x8480, 0x0100
_POINTER = 0xC0


class NameServer(asyncio.DatagramProtocol):
    """Answers the n-th question for a kind of address with the n-th list of a name, the last one ever after.

    A list holds addresses, and `CNAME other.name` before those that belong to the other
    name. Every answer may be kept for no second. `asked` lists (name, type).
    """

    def __init__(self, zone: Mapping[str, Sequence[Sequence[str]]], *, port: int = 0) -> None:
        self.asked: list[tuple[str, int]] = []
        self._zone = zone
        self._port = port

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", self._port)
        )
        self.address: tuple[str, int] = self._transport.get_extra_info("sockname")[:2]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one question."""
        number = _HEADER.unpack_from(data)[0]
        name, end = _read_name(data, _HEADER.size)
        kind, _ = _QUESTION.unpack_from(data, end)
        question = data[_HEADER.size : end + _QUESTION.size]
        records = self._records(name.lower(), kind)
        self.asked.append((name.lower(), kind))
        head = _HEADER.pack(number, _ANSWER, 1, len(records), 0, 0)
        self._transport.sendto(head + question + b"".join(records), addr)

    def _records(self, name: str, kind: int) -> list[bytes]:
        lists = self._zone.get(name, [[]])
        answers = lists[min(self.asked.count((name, kind)), len(lists) - 1)]
        records, owner = [], _name(name)
        for answer in answers:
            if answer.startswith("CNAME "):
                target = _name(answer.removeprefix("CNAME "))
                records.append(owner + _RECORD.pack(CNAME, 1, 0, len(target)) + target)
                owner = target
            elif (A if isinstance(address := ip_address(answer), IPv4Address) else AAAA) == kind:
                records.append(owner + _RECORD.pack(kind, 1, 0, len(address.packed)) + address.packed)
        return records


class Asker:
    """A resolver (`outgoing.Resolver`) that asks one name server for both kinds of addresses, each time anew."""

    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._numbers = count(1)

    async def __call__(self, host: str, port: int) -> list[str]:
        """Give every address in the answers."""
        found = [await self._ask(host, kind) for kind in (AAAA, A)]
        return [address for addresses in found for address in addresses]

    async def _ask(self, host: str, kind: int) -> list[str]:
        number = next(self._numbers)
        answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Once(answered), remote_addr=self._server.address
        )
        try:
            head = _HEADER.pack(number, _RECURSION, 1, 0, 0, 0)
            transport.sendto(head + _name(host) + _QUESTION.pack(kind, 1))
            async with asyncio.timeout(10):
                answer = await answered
        finally:
            transport.close()
        assert _HEADER.unpack_from(answer)[0] == number
        return _addresses(answer)


class _Once(asyncio.DatagramProtocol):
    def __init__(self, answered: asyncio.Future[bytes]) -> None:
        self._answered = answered

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._answered.set_result(data)


def _addresses(answer: bytes) -> list[str]:
    *_, records, _, _ = _HEADER.unpack_from(answer)
    _, place = _read_name(answer, _HEADER.size)
    place += _QUESTION.size
    found = []
    for _ in range(records):
        _, place = _read_name(answer, place)
        kind, _, _, size = _RECORD.unpack_from(answer, place)
        place += _RECORD.size
        packed = answer[place : place + size]
        place += size
        if kind != CNAME:
            found.append(str((IPv4Address if kind == A else IPv6Address)(packed)))
    return found


def _name(name: str) -> bytes:
    labels = [label.encode() for label in name.split(".")]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _read_name(message: bytes, place: int) -> tuple[str, int]:
    """Return a name that is written out and where it ends."""
    labels = []
    while size := message[place]:
        assert size < _POINTER, "names are written out here"
        labels.append(message[place + 1 : place + 1 + size].decode())
        place += 1 + size
    return ".".join(labels), place + 1
