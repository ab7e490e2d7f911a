"""`Runware`: the client of the platform, over WebSocket or REST.

It opens and closes the parts and hands each operation to the module that tells its story: `runs`,
`sending`, `utilities`, `streaming`. It knows no database, no queue and no job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from .asking import get_response, upload_model
from .config import RunOptions, StreamOptions, read_config
from .log import ClientLog
from .parts import Parts, unless_cancelled
from .registry import Registry
from .rest import RestTransport, open_session
from .runs import prepare_task, run
from .sending import poll_many, submit_many
from .streaming import TextStream, open_stream
from .utilities import UTILITY_TASK_TYPES, ask
from .validating import validate_params
from .websocket import WebSocketTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .config import SDKConfig
    from .outcomes import PollOutcome, SubmitOutcome

Item = dict[str, Any]


class Runware:
    """A client. Use it as `async with Runware(...) as client`, or call `close()` yourself.

    The options are the fields of `SDKConfig`, by name. Nothing is opened before the first request
    or `connect()`. One client serves any number of concurrent calls of one event loop.

    Errors:
        ConfigurationError: an unknown option, no API key, or a value out of range.
    """

    def __init__(self, **options: Any) -> None:
        self.config: SDKConfig = read_config(options)
        self._log = ClientLog(enabled=self.config.debug, sink=self.config.log_sink)
        self._open_parts: Parts | None = None

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

    async def disconnect(self) -> None:
        """Close the connection; requests under way end with a `connection` error. The next request opens it again."""
        await self.close()

    async def close(self) -> None:
        """Close all that this client opened; an injected session stays open. Calling it again does nothing."""
        parts, self._open_parts = self._open_parts, None
        if parts is None:
            return
        await parts.transport.close()
        if not self._has_injected_session:
            await parts.session.aclose()

    # ---- tasks --------------------------------------------------------------------------------

    async def run(self, params: Mapping[str, Any], options: RunOptions | None = None) -> list[Item]:
        """Run one task and give its results in the platform's order.

        Delivery is async unless `params` say otherwise: the task is submitted, then asked for until done.
        A try that may have arrived is repeated under the same task UUID only.

        Errors:
            RunwareError: with `results` holding what had succeeded. `timeout` and `aborted` end the waiting,
                not the task: it goes on and is billed.
        """
        options = options or RunOptions()
        match params.get("taskType"):
            case "getResponse":
                return await get_response(self._parts, params, options)
            case "modelUpload":
                return await upload_model(self._parts, params, options, None)
            case str() as task_type if task_type in UTILITY_TASK_TYPES:
                return await ask(self._parts, task_type, params, options)
        return await run(self._parts, params, options)

    async def stream(self, params: Mapping[str, Any], options: StreamOptions | None = None) -> TextStream:
        """Generate text and read it while it is written. Always over HTTP; never repeated.

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
        return await unless_cancelled(
            open_stream(self._parts, {**task, "deliveryMethod": "stream"}, options), options.cancel_event
        )

    async def submit_many(
        self, tasks: Sequence[Mapping[str, Any]], *, send_before: float | None = None
    ) -> dict[str, SubmitOutcome]:
        """Submit tasks in few requests, each task once, and tell what became of each by task UUID.

        Every task carries its own `taskUUID` and `taskType`; nothing is added to it. `send_before` is unix
        time in seconds: no byte is written after it (wall clock and a clock that counts suspension), and such
        tasks are `NotSent`. Never retries, never raises for what the platform or the network does.

        Errors:
            ValueError: a task without `taskUUID` or `taskType`, or the same UUID twice; nothing was sent.
        """
        return await submit_many(
            tasks, transport=self._parts.transport, config=self.config, send_before=send_before
        )

    async def poll_many(self, task_uuids: Iterable[str]) -> dict[str, PollOutcome]:
        """Ask for the state of many tasks in few requests, and tell it by task UUID. Never raises for the network."""
        parts = self._parts
        return await poll_many(
            task_uuids, transport=parts.transport, fallback=parts.poll_fallback, config=self.config
        )

    # ---- utilities ----------------------------------------------------------------------------

    async def get_response(self, params: Mapping[str, Any], options: RunOptions | None = None) -> list[Item]:
        """Ask once for the items of a task (`taskUUID`); an empty list when the platform does not know it."""
        return await get_response(self._parts, params, options)

    async def get_task_details(
        self, params: Mapping[str, Any], options: RunOptions | None = None
    ) -> list[Item]:
        """Look up an earlier task (`taskUUID`) in the archive: `request` and `response` as they went over the wire.

        An empty list, or a RunwareError with code `notFound`, says that the archive does not know the task; any
        other error says nothing about it. What a socket leaves without an answer is asked again over HTTP.
        """
        return await ask(self._parts, "getTaskDetails", params, options)

    async def media_storage(self, params: Mapping[str, Any], options: RunOptions | None = None) -> list[Item]:
        """Upload media (`operation` "upload", the default) or delete it (`media` is then its UUID)."""
        return await ask(self._parts, "mediaStorage", {"operation": "upload", **params}, options)

    async def image_upload(self, params: Mapping[str, Any], options: RunOptions | None = None) -> list[Item]:
        """Upload one image (URL, data URI, base64 or local file). The platform prefers `media_storage`."""
        return await ask(self._parts, "imageUpload", params, options)

    async def model_upload(
        self,
        params: Mapping[str, Any],
        options: RunOptions | None = None,
        *,
        on_phase: Callable[[Item], object] | None = None,
    ) -> list[Item]:
        """Have a model fetched and stored; gives one item per phase, the last one `ready`.

        `on_phase` hears each phase once: over WebSocket as it happens, over REST as often as is asked.

        Errors:
            RunwareError: a phase failed (`provider`), or it was not ready in time; then it goes on.
        """
        return await upload_model(self._parts, params, options, on_phase)

    async def model_search(self, params: Mapping[str, Any], options: RunOptions | None = None) -> list[Item]:
        """Search the model catalogue; one item with `results` and `totalResults`."""
        return await ask(self._parts, "modelSearch", params, options)

    async def account_management(
        self, params: Mapping[str, Any], options: RunOptions | None = None
    ) -> list[Item]:
        """Ask about the account (`operation`, for example "getDetails")."""
        return await ask(self._parts, "accountManagement", params, options)

    async def ping(self, options: RunOptions | None = None) -> list[Item]:
        """Ask the platform for a sign of life."""
        return await ask(self._parts, "ping", {"ping": True}, options)

    async def refresh_registry(self) -> None:
        """Fetch the model registry now; a failure keeps the copy at hand."""
        await self._parts.registry.refresh()

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
            session, config.http_base_url, config.api_key, self._log, is_own_session=injected is None
        )
        socket = None
        if config.transport == "websocket":
            connect_socket = None if dependencies is None else dependencies.ws_connect
            socket = WebSocketTransport(config, self._log, connect_socket=connect_socket)
        registry_url = f"{config.schemas_base_url.rstrip('/')}/registry.json"
        return Parts(
            config=config,
            session=session,
            transport=socket or rest,
            poll_fallback=None if socket is None else rest,
            registry=Registry(lambda: session, registry_url, self._log),
            log=self._log,
        )
