"""One event loop per worker process, in a thread of its own, started after any fork.

Sync meets async here and nowhere else in the worker: Celery's tasks call
`WorkerLoop`, which runs on the loop that holds the client, the engine and the clock.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import structlog

from runware_jobs.assembly import account_urls, open_worker
from runware_jobs.errors import RunwareJobsError
from runware_jobs.options import read_id, read_options
from runware_jobs.producer import Producer
from runware_jobs.steps.celery_intake import note_replay, require_chords
from runware_jobs.steps.enqueue import ask
from runware_jobs.store.jobs import read_states

from .clock import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sqlalchemy.ext.asyncio import AsyncEngine

    from runware_jobs.assembly import Services
    from runware_jobs.settings import Settings
    from runware_jobs.steps.context import CelerySide, PublishLink, Receivers

_log = structlog.get_logger()
DRAIN_WITHIN_S: Final = 4.0
"""What is on the wire may take this long to be answered; then it is left to be settled."""
_CLOSE_WITHIN_S: Final = 1.0
_INTAKE_WITHIN_S: Final = 30.0
# A message that goes back to the broker comes again at once: this is how often.
_INTAKE_AGAIN_S: Final = 1.0


class WorkerLoop:
    """The loop of this process; `start` once, `stop` once.

    `failed` is called, from the loop's thread, when the clock cannot run at all (a
    schema that is behind, a missing key): the process should say so and end.
    """

    def __init__(
        self,
        settings: Settings,
        services: Services,
        *,
        signals: list[str],
        receivers: Receivers,
        publish_link: PublishLink,
        celery: CelerySide,
        failed: Callable[[Exception], None],
    ) -> None:
        self._settings = settings
        self._services = services
        self._signals = signals
        self._receivers = receivers
        self._publish_link = publish_link
        self._celery = celery
        self._failed = failed
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._clock: Clock | None = None
        self._producer: Producer | None = None
        self._engine: AsyncEngine | None = None
        self._ready = threading.Event()
        self._told_to_stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="runware-jobs-loop", daemon=True)

    def start(self) -> None:
        """Start the thread; returns at once."""
        self._thread.start()

    def drain(self) -> None:
        """Begin to stop: claim and poll no more; returns at once, also in a signal handler."""
        self._told_to_stop.set()
        self._ready.set()  # whoever waits for a loop that never became ready waits no longer
        with suppress(RuntimeError):  # it is closed already
            self._loop.call_soon_threadsafe(self._drain)

    def stop(self) -> None:
        """Drain, give back the lease, close; waits for it, for seconds."""
        self.drain()
        if self._thread.is_alive():
            self._thread.join(timeout=DRAIN_WITHIN_S + _CLOSE_WITHIN_S)

    @property
    def is_drained(self) -> bool:
        """Whether it has come to its end."""
        return self._told_to_stop.is_set() and not self._thread.is_alive()

    def intake(
        self,
        kind: str,
        params: dict[str, Any],
        options: dict[str, Any],
        *,
        request: Any,
        canvas: dict[str, Any],
    ) -> None:
        """Write a job for a Celery task, with what should follow it; from any thread, blocks until committed.

        `request` is the task's, whose id becomes the job's; `canvas` is what of it is kept.
        Doing it twice with one id is one job.

        Raises:
            RunwareJobsError: the request is wrong.
            TimeoutError: the database did not answer in time; the job may be there.
        """
        asked = ask(
            params,
            replace(read_options(options, self._settings), canvas=canvas),
            kind=kind,
            job_id=read_id(request.id),
        )

        async def take_in() -> None:
            assert self._engine is not None and self._producer is not None  # noqa: S101, PT018  it is ready
            await require_chords(self._engine, vars(request))
            [job] = await self._producer.add([asked], tenant=asked.job.options.tenant)
            await note_replay(self._engine, request.id, job["id"], vars(request))

        self._wait_for(take_in)

    def require_database(self) -> None:
        """Wait until the database answers; from any thread.

        Raises:
            TimeoutError: it did not in time.
            OperationalError: it is away.
        """

        async def ask_it() -> None:
            assert self._engine is not None  # noqa: S101  it is ready
            async with self._engine.connect() as connection:
                await read_states(connection, [])

        self._wait_for(ask_it)

    def _wait_for(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        if not self._ready.wait(_INTAKE_WITHIN_S) or self._producer is None:
            raise TimeoutError("the worker's loop is not ready")
        working = asyncio.run_coroutine_threadsafe(work(), self._loop)
        try:
            working.result(timeout=_INTAKE_WITHIN_S)
        except RunwareJobsError:
            raise
        except Exception:
            working.cancel()
            self._told_to_stop.wait(_INTAKE_AGAIN_S)
            raise

    def wake_submit(self) -> None:
        """Look for queued jobs now; from any thread, returns at once."""
        self._nudge(Clock.wake_submit)

    def wake_outbox(self) -> None:
        """Look for what is to leave now; from any thread, returns at once."""
        self._nudge(Clock.wake_outbox)

    def wake_rescue(self) -> None:
        """Look for what nobody alive follows now; from any thread, returns at once."""
        self._nudge(Clock.wake_rescue)

    def _nudge(self, wake: Callable[[Clock], None]) -> None:
        clock = self._clock
        if clock is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(wake, clock)

    def _drain(self) -> None:
        self._stopping.set()
        if self._clock is not None:
            self._clock.drain()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._work())
        except Exception as error:  # noqa: BLE001  handed to the shell, which ends the process
            self._failed(error)
        finally:
            self._loop.run_until_complete(self._leave())
            self._loop.close()

    async def _leave(self) -> None:
        """End what is still under way for somebody in another thread, so that he waits no longer."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=_CLOSE_WITHIN_S)
        await self._loop.shutdown_asyncgens()

    async def _work(self) -> None:
        serving = asyncio.ensure_future(self._serve())
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        # Told to stop before the platform or database was ever reached: nothing is on the wire.
        patience_s = 0.0 if self._clock is None else DRAIN_WITHIN_S
        done, _ = await asyncio.wait({serving}, timeout=patience_s)
        if not done:
            _log.warning("drain_cut_short", after_s=patience_s)
            serving.cancel()
            await asyncio.wait({serving}, timeout=_CLOSE_WITHIN_S)
            return
        await serving

    async def _serve(self) -> None:
        async with open_worker(
            self._settings,
            self._services,
            signals=self._signals,
            receivers=self._receivers,
            publish_link=self._publish_link,
            celery=self._celery,
        ) as context:
            self._clock = Clock(context)
            self._engine = context.engine
            base_url, fallback_url = account_urls(self._settings)
            self._producer = Producer(
                context.engine,
                base_url=base_url,
                fallback_url=fallback_url,
                vault=context.vault,
                wake=self._clock.wake_submit,
            )
            self._ready.set()
            _log.info(
                "worker_ready",
                process=context.owner.id,
                account_id=context.owner.account_id,
                base_url=self._settings.http_base_url,
                transport=self._settings.transport,
            )
            await self._clock.run()
        _log.info("worker_drained")
