"""Serve the clients of the control socket, and decide from who is connected when the engines stop.

What is said is in wire.py. A connection with a lease is a client; when it ends, however the client's process ended,
its services are stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runware_jobs.embedded import wire
from runware_jobs.embedded.errors import EmbeddedError, EngineFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runware_jobs.embedded.engines import RunningEngines
    from runware_jobs.embedded.services import RunningService, Services

_log = logging.getLogger(__name__)

# For a client that asked for a start and died before it connected.
_FIRST_CLIENT_WITHIN_S = 10.0
# Answers that are due when everything has stopped need moments, unless a client does not read.
_ANSWERED_WITHIN_S = 2.0


@dataclass(eq=False)
class _Lease:
    """One connected client: how long it wants the engines to stay after it, and what runs for it."""

    pid: int
    idle_s: float
    services: list[RunningService] = field(default_factory=list)

    async def stop_services(self) -> None:
        for service in reversed(self.services):
            await service.stop()


class Control:
    """The supervisor's side of the control socket. Needs the running event loop."""

    def __init__(self, engines: RunningEngines, services: Services) -> None:
        self._engines = engines
        self._services = services
        self._leases: list[_Lease] = []
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stopping = asyncio.Event()
        # No client and past this time (of the loop's clock): stop.
        self._keep_until = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._start_failed = False
        self._asked_for = asyncio.Event()
        self._questions = 0
        self._all_answered = asyncio.Event()
        self._all_answered.set()

    async def run(self, server: asyncio.Server) -> None:
        """Start the engines, wait for the reason to stop, and stop everything. Logs why."""
        work = asyncio.create_task(self._run_engines())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait((work, stopping), return_when=asyncio.FIRST_COMPLETED)
        if self._start_failed:
            # The client that wanted the start may not even have connected yet, and is owed the reason.
            await self._within(_ANSWERED_WITHIN_S, self._asked_for)
        # From here on a new client finds no socket, and waits for the lock to start a new supervisor.
        server.close()
        self._engines.places.control_socket.unlink(missing_ok=True)
        self._stopping.set()
        work.cancel()
        (failure,) = await asyncio.gather(work, return_exceptions=True)
        if isinstance(failure, Exception):
            _log.error("supervisor_stops: %s", failure)
        if not self._started.done():
            self._fail_start(EngineFailed("The embedded engines were stopped while they started"))
        await asyncio.gather(*(lease.stop_services() for lease in self._leases))
        await self._engines.stop()
        shutil.rmtree(self._engines.places.sockets, ignore_errors=True)
        await self._within(_ANSWERED_WITHIN_S, self._all_answered)
        _log.info("supervisor_stopped")

    def stop(self, reason: str) -> None:
        _log.info("supervisor_stops: %s", reason)
        self._stopping.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection until it ends; its services end with it."""
        lease: _Lease | None = None
        try:
            while line := await reader.readline():
                if self._stopping.is_set() and not self._start_failed:
                    # Too late. The end of the connection, with this process, tells when a new start can be made.
                    await asyncio.Event().wait()
                request = wire.decode(line)
                if request["op"] == "lease":
                    lease = self._add_lease(request)
                with self._unanswered():
                    try:
                        answer = await self._answer(request, lease)
                    except EmbeddedError as error:
                        answer = {"error": str(error), "pid": os.getpid()}
                    writer.write(wire.encode(answer))
                    await writer.drain()
                if request["op"] == "release":
                    lease = None
        except ConnectionError:
            # A client may go at any time, in the middle of an answer too.
            pass
        except (ValueError, KeyError) as error:
            _log.warning("client_refused: %r", error)
        finally:
            if lease is not None:
                await self._end_lease(lease)
            writer.close()

    async def _answer(self, request: wire.Message, lease: _Lease | None) -> wire.Message:
        match request["op"], lease:
            case "lease", _:
                await asyncio.shield(self._started)
                return {"pid": os.getpid(), **self._urls()}
            case "run", _Lease():
                service = self._services.start(request)
                lease.services.append(service)
                return service.as_message()
            case "release", _Lease():
                await self._end_lease(lease)
                return {
                    "stopping": self._stopping.is_set(),
                    "services": [s.as_message() for s in lease.services],
                }
            case "status", _:
                return self._status()
            case "down", _:
                self.stop("asked to by `down`")
                return {"pid": os.getpid()}
            case _:
                return await self._answer_about_service(request)

    async def _answer_about_service(self, request: wire.Message) -> wire.Message:
        service = self._services.get(request.get("service"))
        match request["op"]:
            case "poll":
                pass
            case "wait":
                await service.child.wait()
            case "stop":
                await service.stop(request.get("grace_s"))
            case operation:
                raise EmbeddedError(f"The supervisor does not know {operation!r}; run `down` and start again")
        return service.as_message()

    @contextlib.contextmanager
    def _unanswered(self) -> Iterator[None]:
        self._questions += 1
        self._all_answered.clear()
        try:
            yield
        finally:
            self._questions -= 1
            if self._questions == 0:
                self._all_answered.set()

    def _add_lease(self, request: wire.Message) -> _Lease:
        lease = _Lease(pid=int(request["pid"]), idle_s=float(request["idle_s"]))
        self._leases.append(lease)
        self._asked_for.set()
        return lease

    async def _end_lease(self, lease: _Lease) -> None:
        """Stop what ran for a client, and keep the engines as long as it, or one before it, wanted."""
        await lease.stop_services()
        if lease in self._leases:
            self._leases.remove(lease)
            self._stop_when_idle(lease.idle_s)

    def _stop_when_idle(self, idle_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._keep_until = max(self._keep_until, loop.time() + idle_s)
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self._keep_until > loop.time():
            self._idle_timer = loop.call_at(self._keep_until, self._stop_if_idle)
        else:
            self._stop_if_idle()

    def _stop_if_idle(self) -> None:
        if not self._leases:
            self.stop("nobody is connected any more")

    async def _run_engines(self) -> None:
        try:
            await self._engines.start()
        except EmbeddedError as error:
            self._fail_start(error)
            raise
        except Exception as error:
            _log.exception("start_failed")
            self._fail_start(EngineFailed(f"The embedded engines did not start: {error}"))
            raise
        self._started.set_result(None)
        _log.info("engines_ready")
        if not self._leases:
            self._stop_when_idle(_FIRST_CLIENT_WITHIN_S)
        await self._engines.keep_running()

    @staticmethod
    async def _within(seconds: float, event: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()

    def _fail_start(self, error: EmbeddedError) -> None:
        self._start_failed = True
        self._started.set_exception(error)
        # Looked at, so that asyncio does not complain where no client waits for it.
        self._started.exception()

    def _urls(self) -> wire.Message:
        places = self._engines.places
        return {
            "database_url": places.database_url,
            "broker_url": places.broker_url,
            "redis_url": places.redis_url,
        }

    def _status(self) -> wire.Message:
        places, postgres, valkey = self._engines.places, self._engines.postgres, self._engines.valkey
        left_s = self._keep_until - asyncio.get_running_loop().time()
        return {
            "state": "ready" if self._started.done() else "starting",
            "pid": os.getpid(),
            "postgres_pid": postgres and postgres.pid,
            "valkey_pid": valkey and valkey.pid,
            "data": str(places.data),
            "log": str(places.log),
            **self._urls(),
            "clients": [lease.pid for lease in self._leases],
            "services": [service.as_message() for service in self._services.running()],
            "stops_in_s": None if self._leases else max(0.0, left_s),
        }
