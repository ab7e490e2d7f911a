"""The programs that a client has asked the supervisor to run, until that client is gone."""

from __future__ import annotations

import itertools
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from runware_jobs.embedded.errors import EmbeddedError

if TYPE_CHECKING:
    from runware_jobs.embedded.children import Child, Children
    from runware_jobs.embedded.wire import Message


@dataclass(eq=False)
class RunningService:
    """One program; `grace_s` is how long it may take to stop when its client is gone."""

    number: int
    name: str
    child: Child
    grace_s: float
    was_asked_to_stop: bool = False

    async def stop(self, grace_s: float | None = None) -> int:
        """Ask the program itself to stop (SIGTERM); kill its whole group after the grace, or when it has ended.

        Only the program is asked: a Celery worker finishes what its pool processes do, and they would stop halfway
        if they were told, too.
        """
        # Asked once: to many programs a second SIGTERM means "at once". A second stop only has its own patience.
        number = None if self.was_asked_to_stop else signal.SIGTERM
        self.was_asked_to_stop = True
        return await self.child.end(((number, self.grace_s if grace_s is None else grace_s),))

    def as_message(self) -> Message:
        return {
            "service": self.number,
            "name": self.name,
            "pid": self.child.pid,
            "returncode": self.child.returncode,
            "log_offset_bytes": self.child.log_offset_bytes,
        }


@dataclass
class Services:
    """The services of all clients. Ended ones stay known, so that their return code can be asked for."""

    children: Children
    _known: dict[int, RunningService] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def start(self, request: Message) -> RunningService:
        """Start what a client asks for. Raises EmbeddedError naming the service when it cannot be started."""
        name, argv = str(request["name"]), [str(argument) for argument in request["argv"]]
        log = Path(request["log_path"])
        try:
            child = self.children.start_service(argv, log=log, env=request["env"], cwd=str(request["cwd"]))
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise EmbeddedError(f"The service {name} cannot be started ({argv[0]}): {error}") from error
        service = RunningService(
            number=next(self._numbers), name=name, child=child, grace_s=float(request["grace_s"])
        )
        self._known[service.number] = service
        return service

    def get(self, number: int | None) -> RunningService:
        """Look up a service. Raises EmbeddedError when there was none with this number."""
        try:
            return self._known[number or 0]
        except KeyError:
            raise EmbeddedError(f"The supervisor knows no service {number}") from None

    def running(self) -> list[RunningService]:
        return [service for service in self._known.values() if service.child.returncode is None]
