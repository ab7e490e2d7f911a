"""Cut what two programs say to each other into messages, and name each request by what it does.

One pair of splitters for Postgres' protocol, one for HTTP that may become a WebSocket.
They are fed bytes as they come and give whole messages back, unchanged: a relay can then
act before a request leaves, when its answer is there, or after the answer was passed on.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from dataclasses import dataclass
from typing import Any, Protocol

_WRITES = re.compile(
    r"(INSERT INTO|UPDATE|DELETE FROM|TRUNCATE)\s+(?:runware_jobs\.)?\"?(\w+)", re.IGNORECASE
)
_READS = re.compile(r"\bFROM\s+runware_jobs\.(\w+)", re.IGNORECASE)
_ENDS_OF_REQUESTS = frozenset(b"QSX")
_PASSED_ALONG = frozenset(b"dcfpH")
_CONTROL_OPCODES = frozenset({8, 9, 10})


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes to pass on. `label` names a request; `ends` says that an answer is whole; `key` is an API key.

    `tasks` are the task UUIDs that a request submits.
    """

    data: bytes
    label: str | None = None
    ends: bool = False
    key: str | None = None
    tasks: tuple[str, ...] = ()


class Splitter(Protocol):
    """Takes bytes as they come, gives pieces as they are whole."""

    def feed(self, data: bytes) -> list[Piece]:
        """Give what is whole now."""
        ...


class PostgresRequests:
    """What a client says to Postgres: a piece per round trip, named by the statement and its transaction."""

    def __init__(self) -> None:
        self._buffer = b""
        self._pending = b""
        self._has_started = False
        self._statements: dict[bytes, str] = {}
        self._sql: list[str] = []
        self._writes: list[str] = []

    def feed(self, data: bytes) -> list[Piece]:
        self._buffer += data
        pieces = []
        while (message := self._take()) is not None:
            if not self._has_started:
                self._has_started = True
                pieces.append(Piece(message))
                continue
            self._pending += message
            self._note(message)
            if message[0] in _ENDS_OF_REQUESTS:
                label = None if message[:1] == b"X" else self._label(self._pending)
                pieces.append(Piece(self._pending, label=label))
                self._pending, self._sql = b"", []
            elif message[0] in _PASSED_ALONG:
                pieces.append(Piece(self._pending))
                self._pending = b""
        return pieces

    def _take(self) -> bytes | None:
        at = 1 if self._has_started else 0
        if len(self._buffer) < at + 4:
            return None
        (length,) = struct.unpack_from("!I", self._buffer, at)
        if len(self._buffer) < at + length:
            return None
        message, self._buffer = self._buffer[: at + length], self._buffer[at + length :]
        return message

    def _note(self, message: bytes) -> None:
        body = message[5:]
        match message[:1]:
            case b"Q":
                self._sql.append(body.split(b"\0", 1)[0].decode())
            case b"P":
                name, sql, _ = body.split(b"\0", 2)
                self._statements[name] = sql.decode()
            case b"B":
                _portal, name, _ = body.split(b"\0", 2)
                self._sql.append(self._statements.get(name, "?"))
            case _:
                pass

    def _label(self, unit: bytes) -> str | None:
        """Name the round trip; a COMMIT is named after what its transaction has written."""
        sql = " ".join("; ".join(self._sql).split())
        word = sql.split(" ", 1)[0].rstrip(";").upper()
        if word == "BEGIN":
            self._writes = []
            return "sql BEGIN"
        if word in {"COMMIT", "ROLLBACK"}:
            writes, self._writes = self._writes, []
            return f"sql {word} of {' + '.join(dict.fromkeys(writes)) or 'reads'}"
        writes = [
            f"{verb.split()[0].lower()} {table}" for verb, table in _WRITES.findall(sql) if table != "SET"
        ]
        if b'"resent":true' in unit:
            writes.append("mark of a resend")
        self._writes += writes
        named = " + ".join(dict.fromkeys(writes)) or "read " + "/".join(dict.fromkeys(_READS.findall(sql)))
        return f"sql {named} #{hashlib.md5(sql.encode()).hexdigest()[:4]}"


class PostgresAnswers:
    """What Postgres says: an answer ends with ReadyForQuery."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[Piece]:
        self._buffer += data
        pieces, at, start = [], 0, 0
        while len(self._buffer) >= at + 5:
            (length,) = struct.unpack_from("!I", self._buffer, at + 1)
            if len(self._buffer) < at + 1 + length:
                break
            is_ready = self._buffer[at] == ord("Z")
            at += 1 + length
            if is_ready:
                pieces.append(Piece(self._buffer[start:at], ends=True))
                start = at
        if at > start:
            pieces.append(Piece(self._buffer[start:at]))
        self._buffer = self._buffer[at:]
        return pieces


class WebRequests:
    """What a client of the platform says: requests of HTTP, and frames once it is a WebSocket."""

    def __init__(self) -> None:
        self._buffer = b""
        self._is_socket = False
        self._message = b""

    def feed(self, data: bytes) -> list[Piece]:
        self._buffer += data
        pieces = []
        while (piece := self._frame() if self._is_socket else self._request()) is not None:
            pieces.append(piece)
        return pieces

    def _request(self) -> Piece | None:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return None
        headers = _headers(head)
        if headers.get("upgrade", "").lower() == "websocket":
            # Frames are to be read, so compression is not offered further.
            kept = [
                line
                for line in head.split(b"\r\n")
                if not line.lower().startswith(b"sec-websocket-extensions")
            ]
            self._is_socket, self._buffer = True, rest
            return Piece(b"\r\n".join(kept) + b"\r\n\r\n", label="ws connect", key=_key_of(headers))
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return None
        self._buffer = rest[length:]
        body = rest[:length]
        label = f"rest {_said(body)}" if length else "rest " + head.split(b" ", 2)[1].decode()
        return Piece(head + found + body, label=label, key=_key_of(headers), tasks=_submitted(body))

    def _frame(self) -> Piece | None:
        frame = _cut_frame(self._buffer)
        if frame is None:
            return None
        size, opcode, is_last, payload = frame
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        if opcode in _CONTROL_OPCODES:
            return Piece(data)
        self._message += payload
        if not is_last:
            return Piece(data)
        message, self._message = self._message, b""
        return Piece(data, label=f"ws {_said(message)}", key=_key_in(message), tasks=_submitted(message))


class WebAnswers:
    """What the platform says: whole answers of HTTP, or frames once it is a WebSocket."""

    def __init__(self) -> None:
        self._buffer = b""
        self._is_socket = False

    def feed(self, data: bytes) -> list[Piece]:
        self._buffer += data
        pieces = []
        while (piece := self._frame() if self._is_socket else self._answer()) is not None:
            pieces.append(piece)
        return pieces

    def _answer(self) -> Piece | None:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return None
        if head.startswith(b"HTTP/1.1 101"):
            self._is_socket, self._buffer = True, rest
            return Piece(head + found, ends=True)
        headers = _headers(head)
        length = int(headers.get("content-length", 0))
        if "chunked" in headers.get("transfer-encoding", ""):
            end = rest.find(b"0\r\n\r\n")
            if end < 0:
                return None
            length = end + 5
        if len(rest) < length:
            return None
        self._buffer = rest[length:]
        return Piece(head + found + rest[:length], ends=True)

    def _frame(self) -> Piece | None:
        frame = _cut_frame(self._buffer)
        if frame is None:
            return None
        size, opcode, is_last, _ = frame
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return Piece(data, ends=is_last and opcode not in _CONTROL_OPCODES)


def _cut_frame(data: bytes) -> tuple[int, int, bool, bytes] | None:
    """Give size, opcode, FIN and payload of the first frame (RFC 6455, 5.2); None while it is not whole."""
    if len(data) < 2:
        return None
    length, at = data[1] & 0x7F, 2
    if length >= 126:
        wide = "!H" if length == 126 else "!Q"
        at += struct.calcsize(wide)
        if len(data) < at:
            return None
        (length,) = struct.unpack_from(wide, data, 2)
    is_masked = bool(data[1] & 0x80)
    size = at + (4 if is_masked else 0) + length
    if len(data) < size:
        return None
    payload = data[size - length : size]
    if is_masked and length:
        mask = (data[at : at + 4] * (length // 4 + 1))[:length]
        payload = (int.from_bytes(payload) ^ int.from_bytes(mask)).to_bytes(length)
    return size, data[0] & 0x0F, bool(data[0] & 0x80), payload


def _headers(head: bytes) -> dict[str, str]:
    pairs = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _key_of(headers: dict[str, str]) -> str | None:
    return headers.get("authorization", "").removeprefix("Bearer ") or None


def _key_in(message: bytes) -> str | None:
    found = re.search(rb'"apiKey"\s*:\s*"([^"]+)"', message)
    return found.group(1).decode() if found else None


def _said(body: bytes) -> str:
    """Name the task types of a message, each once."""
    types = dict.fromkeys(str(task.get("taskType", "?")) for task in _tasks(body))
    return " + ".join(sorted(types)) or "?"


def _submitted(body: bytes) -> tuple[str, ...]:
    """Name the tasks that a message would have run, and billed."""
    return tuple(
        str(task.get("taskUUID"))
        for task in _tasks(body)
        if str(task.get("taskType")).endswith("Inference") or task.get("taskType") == "training"
    )


def _tasks(body: bytes) -> list[dict[str, Any]]:
    try:
        message: Any = json.loads(body)
    except ValueError:
        return []
    listed = message if isinstance(message, list) else [message]
    return [task for task in listed if isinstance(task, dict)]
