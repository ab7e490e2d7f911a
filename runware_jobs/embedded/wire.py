"""What client and supervisor say to each other: one JSON object a line, over the control socket.

A connection that has asked for a lease keeps the engines running and owns the services it starts; when it ends,
however its process ended, they are stopped. Any other connection is a question.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

# The environment of a service travels in one line.
LINE_MAX_BYTES = 16 * 1024 * 1024

Message = dict[str, Any]


def encode(message: Message) -> bytes:
    """Write a message as a line. Bytes of the environment that are no text survive as lone surrogates."""
    return json.dumps(message).encode("ascii") + b"\n"


def decode(line: bytes) -> Message:
    """Read a message from a line. Raises ValueError when it is not a JSON object."""
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("a message must be a JSON object")  # noqa: TRY004 - one error for every unreadable line
    return message


def exchange(connection: socket.socket, message: Message) -> Message | None:
    """Send a message and return the answer; None when the other end is gone.

    Raises TimeoutError after the socket's timeout.
    """
    try:
        connection.sendall(encode(message))
        received = bytearray()
        while not received.endswith(b"\n"):
            part = connection.recv(65_536)
            if not part:
                return None
            received += part
    except (ConnectionError, BrokenPipeError):
        return None
    return decode(bytes(received))
