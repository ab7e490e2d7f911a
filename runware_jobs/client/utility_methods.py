"""The utilities of the platform as methods of the client: thin over `run()`, each with its task type set.

Params may come as one dict, as keywords, or both (then the keyword holds). What the call options of
`call_options` say may stand among them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .config import RunOptions

Item = dict[str, Any]


class UtilityMethods(ABC):
    """One method per utility. Each gives a list, as `run()` does; most answers are one item."""

    @abstractmethod
    async def _run(self, params: Mapping[str, Any], options: RunOptions | None) -> list[Item]:
        """Do what `run()` promises."""

    async def model_search(
        self, params: Mapping[str, Any] | None = None, options: RunOptions | None = None, **more: Any
    ) -> list[Item]:
        """Search the model catalogue (`search`, `category`, `architecture`, `limit`, `offset`, ...).

        Gives one item with `totalResults` and `results`, every field of them as the platform sent it. Filters
        that the platform no longer documents are sent all the same.
        """
        return await self._ask("modelSearch", params, options, more)

    async def image_upload(
        self, params: Mapping[str, Any] | None = None, options: RunOptions | None = None, **more: Any
    ) -> list[Item]:
        """Upload an `image` (URL, data URI, base64, local file or bytes); gives one item with `imageUUID`.

        The platform prefers `media_storage()`, which takes every kind of media.
        """
        return await self._ask("imageUpload", params, options, more)

    async def media_storage(
        self, params: Mapping[str, Any] | None = None, options: RunOptions | None = None, **more: Any
    ) -> list[Item]:
        """Upload `media` (URL, data URI, base64, local file or bytes); gives one item with `mediaUUID` and `mediaURL`.

        With `operation="delete"` it deletes: `media` is then the UUID.
        """
        return await self._ask("mediaStorage", params, options, more)

    async def model_upload(
        self,
        params: Mapping[str, Any] | None = None,
        options: RunOptions | None = None,
        *,
        on_phase: Callable[[Item], object] | None = None,
        **more: Any,
    ) -> list[Item]:
        """Have a model fetched and stored, and wait until it is ready; gives its last phase, as the one item.

        `on_phase(phase)` hears each phase once, `on_upload_stream(phase, error)` too and also what ends the upload:
        over WebSocket as it happens, over REST as often as is asked. Both may be coroutine functions. `options`
        limits the waiting as in `run()`. `downloadUrl` and `heroImageUrl` are sent as `downloadURL` and
        `heroImageURL`.

        Errors:
            RunwareError: `provider` for a phase that failed; `timeout` when it was not ready in time, and then it
                goes on.
        """
        told = {} if on_phase is None else {"on_phase": on_phase}
        return await self._ask("modelUpload", params, options, {**more, **told})

    async def account_management(
        self, params: Mapping[str, Any] | None = None, options: RunOptions | None = None, **more: Any
    ) -> list[Item]:
        """Ask about the account: `operation` is "getDetails", "getUsageActivity" and the like; gives one item."""
        return await self._ask("accountManagement", params, options, more)

    async def get_task_details(
        self, params: Mapping[str, Any] | None = None, options: RunOptions | None = None, **more: Any
    ) -> list[Item]:
        """Look up an earlier task (`taskUUID`) in the archive: `request` and `response` as they went over the wire.

        An empty list, or a RunwareError with code `notFound`, says that the archive does not know the task; any
        other error says nothing about it. What a socket leaves without an answer is asked again over HTTP.
        """
        return await self._ask("getTaskDetails", params, options, more)

    async def get_response(
        self, params: Mapping[str, Any] | None = None, options: RunOptions | None = None, **more: Any
    ) -> list[Item]:
        """Ask once for the items of a task (`taskUUID`), finished or not; empty when the platform does not know it.

        Errors:
            RunwareError: the task failed as a whole, or the platform could not be asked.
        """
        return await self._ask("getResponse", params, options, more)

    async def ping(self, options: RunOptions | None = None) -> list[Item]:
        """Ask the platform for a sign of life; gives one item with `pong`."""
        return await self._ask("ping", None, options, {})

    async def _ask(
        self,
        task_type: str,
        params: Mapping[str, Any] | None,
        options: RunOptions | None,
        more: Mapping[str, Any],
    ) -> list[Item]:
        return await self._run(merged(params, more, taskType=task_type), options)


def merged(params: Mapping[str, Any] | None, keywords: Mapping[str, Any], **fixed: Any) -> Mapping[str, Any]:
    """Join the two ways of giving params; one that is no mapping stays as it is, for `run()` to refuse."""
    if params is not None and not hasattr(params, "keys"):
        return params
    return {**(params or {}), **keywords, **fixed}
