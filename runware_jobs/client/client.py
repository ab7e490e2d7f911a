"""`Runware`: the client of the platform, over WebSocket or REST.

It opens and closes the parts and hands each operation to the module that tells its story: `runs`,
`sending`, `utilities`, `asking`, `streaming`. The methods for single kinds of tasks stand in
`task_methods` and `utility_methods`. It knows no database, no queue and no job.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import httpx

from .call_options import split_call
from .config import RunOptions, StreamOptions, read_config, read_run_options
from .errors import RunwareError
from .log import ClientLog
from .parts import Parts, end_all, pause_before_retry, unless_cancelled
from .running.asking import get_response, upload_model
from .running.run_requests import shared_polls, shared_submits
from .running.runs import prepare_task, run
from .running.utilities import UTILITY_TASK_TYPES, ask
from .services.content import Content
from .services.registry import Registry
from .services.serverless import GetTaskOptions, InvokeOptions, get_task, invoke, list_tasks
from .services.validating import validate_params
from .task_methods import TaskMethods
from .text.streaming import TextStream, open_stream
from .typed_run import TypedRun
from .utility_methods import UtilityMethods
from .wire.grouping import GroupTrust
from .wire.heavy import HeavyByRest
from .wire.rest import RestTransport, open_session
from .wire.sending import poll_many, submit_many
from .wire.websocket import WebSocketTransport
from .wire.ws_session import SessionTimes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from .config import SDKConfig
    from .outcomes import PollOutcome, SubmitOutcome
    from .services.registry import RegistryContent
    from .services.serverless_api import ServerlessTask, TaskPage, TaskStatus

Item = dict[str, Any]


class Runware(TypedRun, TaskMethods, UtilityMethods):
    """A client. Use it as `async with Runware(...) as client`, or call `close()` yourself.

    The options are the fields of `SDKConfig`, by name; those of the platform's JS SDK (`apiKey`, `url`,
    `shouldReconnect`, ...) are read too, also as one dict. Without `api_key` the environment's
    `RUNWARE_API_KEY` counts. Nothing is opened before the first request or `connect()`. One client serves
    any number of concurrent calls of one event loop.

    Errors:
        ConfigurationError: an unknown option, no API key, or a value of the wrong kind or out of range.
    """

    def __init__(self, options: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        self.config: SDKConfig = read_config(options, **more)
        self._log = ClientLog(
            enabled=self.config.debug, sink=self.config.log_sink, secrets=(self.config.api_key,)
        )
        self._open_parts: Parts | None = None
        self._was_connected = False
        self.content = Content(lambda: self._parts)

    @classmethod
    async def initialize(cls, options: Mapping[str, Any] | None = None, /, **more: Any) -> Self:
        """Make a client and connect it; the options are those of `Runware(...)`. Close it when done.

        Errors:
            RunwareError: as `Runware(...)` and `connect()`; nothing stays open.
        """
        return await cls(options, **more).__aenter__()

    async def __aenter__(self) -> Self:
        """Open the client; with the WebSocket transport this connects, so a refused key is told here."""
        try:
            await self.connect()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    # ---- the connection -----------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        """Whether a request could be written now; over REST, whether the client is open."""
        return self._open_parts is not None and self._open_parts.transport.is_connected

    async def connect(self) -> None:
        """Open the client and, over WebSocket, connect and authenticate. Does nothing when connected.

        Errors:
            RunwareError: `auth` for a refused key, `connection` or `timeout`; the client may connect again later.
        """
        await self._parts.transport.connect()
        self._was_connected = True

    async def ensure_connection(self) -> None:
        """Connect unless connected; unlike `connect()` it tries again, as often as `max_retries` says.

        Errors:
            RunwareError: `auth` for a refused key, `connection` or `timeout` after the last try.
        """
        attempt = 0
        while True:
            try:
                return await self.connect()
            except RunwareError as error:
                await pause_before_retry(self._parts, error, attempt)
                attempt += 1

    async def disconnect(self) -> None:
        """Close the connection; requests under way end with a `connection` error. The next request opens it again."""
        await self.close()

    async def close(self) -> None:
        """Close all that this client opened; an injected session stays open. Calling it again does nothing."""
        parts, self._open_parts = self._open_parts, None
        self._was_connected = False
        if parts is None:
            return
        await end_all(parts)
        await parts.registry.close()
        await parts.submits.close()
        await parts.polls.close()
        await parts.transport.close()
        if not self._has_injected_session:
            await parts.session.aclose()

    # ---- tasks --------------------------------------------------------------------------------

    # `run()` itself, with its documentation and its types, stands in `TypedRun`.
    async def _run(self, params: Mapping[str, Any], options: RunOptions | None) -> list[Item]:
        options = read_run_options(options)
        task, call = split_call(params)
        if not self._was_connected:
            await unless_cancelled(self.ensure_connection(), options.cancel_event)
        parts = call.applied_to(self._parts)
        match task.get("taskType"):
            case "getResponse":
                return await get_response(parts, task, options)
            case "modelUpload":
                return await upload_model(parts, task, options, call)
            case str() as task_type if task_type in UTILITY_TASK_TYPES:
                return await ask(parts, task_type, task, options)
        return await run(parts, task, options, call)

    async def stream(self, params: Mapping[str, Any], options: StreamOptions | None = None) -> TextStream:
        """Give a text that can be read while it is written. Always over HTTP; never repeated.

        The request leaves when the stream is first read: what the platform refuses is raised there.

        Errors:
            RunwareError (validation): `numberResults` above 1, which streams cannot tell apart.
        """
        options = options or StreamOptions()
        task = await prepare_task(self._parts, {**params, "deliveryMethod": "async"})
        if self.config.validate if options.validate is None else options.validate:
            await validate_params(
                self._parts.session,
                self.config.schemas_base_url,
                {**task, "deliveryMethod": "stream"},
                self._log,
            )
        return open_stream(self._parts, {**task, "deliveryMethod": "stream"}, options)

    async def submit_many(
        self,
        tasks: Sequence[Mapping[str, Any]],
        *,
        send_before: float | None = None,
        before_more: Callable[[], Awaitable[object]] | None = None,
    ) -> dict[str, SubmitOutcome]:
        """Submit tasks in few requests, each task once, and tell what became of each by task UUID.

        Every task carries its own `taskUUID` and `taskType`; nothing is added to it. `send_before` is unix
        time in seconds: no byte is written after it (wall clock and a clock that counts suspension), and such
        tasks are `NotSent`. `before_more` is awaited before each request but the first, where there are
        several. Never retries, never raises for what the platform or the network does.

        Errors:
            ValueError: a task without `taskUUID` or `taskType`, or the same UUID twice; nothing was sent.
        """
        return await submit_many(
            tasks,
            transport=self._parts.transport,
            config=self.config,
            send_before=send_before,
            before_more=before_more,
        )

    async def poll_many(
        self, task_uuids: Iterable[str], *, before_more: Callable[[], Awaitable[object]] | None = None
    ) -> dict[str, PollOutcome]:
        """Ask for the state of many tasks in few requests, and tell it by task UUID. Never raises for the network.

        `before_more` is awaited before each request but the first, where it takes several.
        """
        parts = self._parts
        return await poll_many(
            task_uuids,
            transport=parts.transport,
            fallback=parts.poll_fallback,
            config=self.config,
            trust=parts.poll_groups,
            before_more=before_more,
        )

    # ---- models -------------------------------------------------------------------------------

    @property
    def registry(self) -> RegistryContent:
        """The registry at hand: models by AIR, AIRs by slug, task types of architectures, modalities, operations."""
        return self._parts.registry.content

    async def refresh_registry(self) -> None:
        """Fetch the model registry now; a failure keeps the copy at hand."""
        await self._parts.registry.refresh()

    # ---- serverless apps ----------------------------------------------------------------------

    async def invoke(
        self,
        app_id: str,
        endpoint_path: str,
        payload: Mapping[str, Any] | None = None,
        *,
        task_id: str | None = None,
        environment: str | None = None,
        options: InvokeOptions | None = None,
    ) -> ServerlessTask:
        """Invoke an endpoint of an app and give its task when it is final; a failed one is given too.

        The same `task_id` (a UUID; None makes one) gives the same task and never runs twice. `environment`
        None is the client's own. `timeout` and `aborted` end the waiting, not the task.

        Errors:
            RunwareError: with the task's id as `task_uuid`; a wrong name is refused before anything is sent.
        """
        return await invoke(
            self._parts,
            app_id,
            endpoint_path,
            payload,
            task_id=task_id,
            environment=environment,
            options=options or InvokeOptions(),
        )

    async def get_task(
        self,
        app_id: str,
        task_id: str,
        options: GetTaskOptions | None = None,
        *,
        environment: str | None = None,
    ) -> ServerlessTask:
        """Ask for a task of an app as it is now; a task seconds old may still be `notFound`."""
        return await get_task(
            self._parts, app_id, task_id, environment=environment, options=options or GetTaskOptions()
        )

    async def list_tasks(
        self,
        app_id: str,
        *,
        status: TaskStatus | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        environment: str | None = None,
        options: GetTaskOptions | None = None,
    ) -> TaskPage:
        """List the tasks that an app still remembers, page by page: pass `nextCursor` as `cursor` until it is None."""
        return await list_tasks(
            self._parts,
            app_id,
            status=status,
            limit=limit,
            cursor=cursor,
            environment=environment,
            options=options or GetTaskOptions(),
        )

    # ---- inside -------------------------------------------------------------------------------

    @property
    def _has_injected_session(self) -> bool:
        dependencies = self.config.dependencies
        return dependencies is not None and dependencies.session is not None

    @property
    def _parts(self) -> Parts:
        if self._open_parts is None:
            self._open_parts = self._open()
        return self._open_parts

    def _open(self) -> Parts:
        config, dependencies = self.config, self.config.dependencies
        injected = None if dependencies is None else dependencies.session
        session = injected or open_session()
        rest = RestTransport(
            session,
            config.http_base_url,
            config.api_key,
            self._log,
            is_own_session=injected is None,
            is_dry_run=config.dry_run,
        )
        socket = None
        if config.transport == "websocket":
            connect_socket = None if dependencies is None else dependencies.ws_connect
            times = SessionTimes(
                auth_s=config.auth_timeout / 1_000, heartbeat_s=config.heartbeat_interval / 1_000
            )
            socket = WebSocketTransport(
                _for_socket(config), self._log, connect_socket=connect_socket, times=times
            )
        registry_url = f"{config.schemas_base_url.rstrip('/')}/registry.json"
        transport, fallback = (rest, None) if socket is None else (HeavyByRest(socket, rest), rest)
        trust = GroupTrust()
        return Parts(
            config=config,
            session=session,
            transport=transport,
            poll_fallback=fallback,
            registry=Registry(lambda: session, registry_url, self._log),
            log=self._log,
            submits=shared_submits(transport, config),
            polls=shared_polls(transport, fallback, config, trust),
            poll_groups=trust,
        )


def _for_socket(config: SDKConfig) -> SDKConfig:
    """Give the config with a dry run named in the URL: a WebSocket has no header per request."""
    if not config.dry_run:
        return config
    url = httpx.URL(config.ws_base_url).copy_merge_params({"dryRun": "1"})
    return replace(config, ws_base_url=str(url))
