"""What can go wrong with the embedded engines; every message names the remedy.

    EmbeddedError
    ├── EngineUnavailable    no server program for this platform
    ├── EngineFailed         a server did not start, or the data folder cannot be used
    ├── SocketDirUnsafe      somebody else could read or replace the folder of the sockets
    └── ServiceFailed        a program that the supervisor was asked to run ended before it was ready

A tree of its own: this room imports nothing else of runware_jobs.
"""

from __future__ import annotations


class EmbeddedError(RuntimeError):
    """The root of everything this room raises on purpose."""


class EngineUnavailable(EmbeddedError):
    """There is no Postgres or Valkey program for this platform."""


class EngineFailed(EmbeddedError):
    """The engines are not running; the message ends with the last lines of the log in question."""


class SocketDirUnsafe(EmbeddedError):
    """The folder of the sockets belongs to somebody else, is a link, or is open to others."""


class ServiceFailed(EmbeddedError):
    """A service ended, or was not ready in time; it has been stopped. `returncode` is None after a timeout."""

    def __init__(self, message: str, *, name: str, returncode: int | None) -> None:
        super().__init__(message)
        self.name = name
        self.returncode = returncode
