"""One task from parameters to results: prepare, submit, poll until all items are there.

Used by `Runware.run`. It lives in memory: a run that must survive its process belongs to the queue.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from typing import TYPE_CHECKING, Any, assert_never

from .error_codes import REQUEST_TIMEOUT
from .errors import RunwareError, create_runware_error, error_from_wire
from .exchange import Exchange, Kind
from .files import encode_local_files
from .grouping import TaskGroup, encode_task
from .outcomes import Accepted, Blocked, Busy, Conflict, Missing, NoAnswer, NotSent, Polled, Refused, Unclear
from .parts import Parts, pause_before_retry, unless_cancelled
from .registry import resolve_task_type
from .results import ResultSet, expected_items
from .sending import poll_many
from .telling import Teller
from .validating import validate_params
from .verdicts import submit_outcomes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .config import RunOptions
    from .envelope import Item

_FIRST_POLL_S = 1.0
_POLL_GROWTH = 1.5
_MAX_POLL_S = 10.0
# An ACK takes milliseconds on a socket; one that is this late is asked for again, under the same UUID.
_ACK_S = 30.0
# The platform may not know a fresh task at once; one that it names as unknown for longer is gone.
_UNKNOWN_GRACE_S = 15.0
# It never waits for a delivery method: its schema has none and it always answers with an ACK.
_WITHOUT_DELIVERY = frozenset({"training"})


async def run(parts: Parts, params: Mapping[str, Any], options: RunOptions) -> list[Item]:
    """Run one task and give its items in order; see `Runware.run`."""
    task = await prepare_task(parts, params)
    if parts.config.validate if options.validate is None else options.validate:
        await validate_params(parts.session, parts.config.schemas_base_url, task, parts.log)
    budget_s = (options.timeout or parts.config.poll_timeout) / 1_000
    return await unless_cancelled(_run_within(parts, task, options, budget_s), options.cancel_event)


async def prepare_task(parts: Parts, params: Mapping[str, Any]) -> dict[str, Any]:
    """Make the wire's task: files encoded, slug rewritten, task type, UUID and delivery filled in."""
    task = dict(params)
    if parts.config.encode_local_files:
        task = await asyncio.to_thread(encode_local_files, task)
    registry = await parts.registry.for_params(task)
    task["taskType"] = resolve_task_type(task, registry)
    if isinstance(task.get("model"), str):
        task["model"] = registry.air_of(task["model"])
    task.setdefault("taskUUID", str(uuid.uuid4()))
    if task["taskType"] not in _WITHOUT_DELIVERY:
        task.setdefault("deliveryMethod", "async")
    if task.get("deliveryMethod") == "stream":
        raise create_runware_error(
            "invalidDeliveryMethod",
            'run() cannot deliver a stream: use stream(), or "async".',
            parameter="deliveryMethod",
        )
    return task


async def _run_within(parts: Parts, task: dict[str, Any], options: RunOptions, budget_s: float) -> list[Item]:
    try:
        async with asyncio.timeout(budget_s), Teller(parts.log) as teller:
            return await _Run(parts, task, options, teller).to_the_end()
    except TimeoutError as error:
        raise create_runware_error(
            REQUEST_TIMEOUT,
            f"The task was not done within {budget_s:g} s. It goes on and is billed: "
            "ask for it with get_response(), or allow more with RunOptions(timeout=...).",
            task_type=task["taskType"],
            task_uuid=task["taskUUID"],
        ) from error


class _Run:
    """The state of one run between its answers."""

    def __init__(self, parts: Parts, task: dict[str, Any], options: RunOptions, teller: Teller) -> None:
        self._parts = parts
        self._task = task
        self._options = options
        self._teller = teller
        self._task_uuid: str = task["taskUUID"]
        self._group = TaskGroup((encode_task(task),))
        self._results = ResultSet(expected_items(task))
        self._task_errors: list[RunwareError] = []
        # With a webhook even a sync task is only acknowledged (PROTOCOL 3.1).
        self._is_pushed = task.get("deliveryMethod") == "sync" and "webhookURL" not in task

    async def to_the_end(self) -> list[Item]:
        accepted = await self._submit()
        if accepted is not None:
            self._take(accepted.items, accepted.errors, is_cumulative=not self._is_pushed)
        if not self._is_done:
            await self._poll()
        failure = self._failure()
        if failure is not None:
            raise failure
        return self._results.successes

    async def _submit(self) -> Accepted | None:
        """Submit until it is known to be there; None when an earlier try had arrived after all."""
        may_be_there = False
        attempt = 0
        while True:
            outcome = (await self._send())[self._task_uuid]
            match outcome:
                case Accepted():
                    return outcome
                case Conflict(error):
                    if may_be_there:
                        return None
                    raise error
                case Blocked(error) | Refused(error):
                    pass
                case Busy(error) | NotSent(error):
                    pass
                case Unclear(error):
                    if self._is_pushed:
                        # Its result came once, on a line that is gone; a second send would race the first.
                        raise error.changed(retryable=False)
                    may_be_there = True
                case _ as never:
                    assert_never(never)
            await pause_before_retry(self._parts, error, attempt)
            attempt += 1

    async def _send(self) -> Mapping[str, Any]:
        timeout_s = self._parts.config.timeout / 1_000
        is_socket = self._parts.poll_fallback is not None
        pushed: list[Item] = []

        def on_item(item: Item) -> None:
            pushed.append(item)
            self._take((item,), (), is_cumulative=False)

        reply = await self._parts.transport.exchange(
            Exchange(
                group=self._group,
                kind=Kind.PUSH if self._is_pushed else Kind.SUBMIT,
                timeout_s=min(timeout_s, _ACK_S) if is_socket and not self._is_pushed else timeout_s,
                connect_s=timeout_s,
                expected=self._results.expected,
                on_item=on_item if self._is_pushed else None,
            )
        )
        outcomes = submit_outcomes((self._task_uuid,), reply)
        outcome = outcomes[self._task_uuid]
        if isinstance(outcome, Accepted) and pushed:
            outcomes[self._task_uuid] = Accepted(outcome.items[len(pushed) :], outcome.errors)
            if reply.failure is not None and not self._is_done:
                outcomes[self._task_uuid] = Unclear(reply.failure.changed(results=self._results.successes))
        return outcomes

    async def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s = _FIRST_POLL_S
        unknown_since: float | None = None
        failures = 0
        while not self._is_done:
            await asyncio.sleep(pause_s * (0.8 + 0.4 * random.random()))  # noqa: S311 - spreads polls, hides nothing
            outcomes = await poll_many(
                (self._task_uuid,),
                transport=self._parts.transport,
                fallback=self._parts.poll_fallback,
                config=self._parts.config,
            )
            pause_s = min(pause_s * _POLL_GROWTH, _MAX_POLL_S)
            match outcomes[self._task_uuid]:
                case Polled(items, errors):
                    unknown_since, failures = None, 0
                    self._take(items, errors, is_cumulative=True)
                case Missing(error):
                    unknown_since = unknown_since or loop.time()
                    if error is not None and loop.time() - unknown_since > _UNKNOWN_GRACE_S:
                        raise error
                case NoAnswer(error, retry_after_s):
                    # A question costs nothing: a busy or broken line is asked again until the time of the run is over.
                    if not error.retryable:
                        await pause_before_retry(self._parts, error, failures)
                    failures += 1
                    pause_s = max(pause_s, retry_after_s or 0.0)

    @property
    def _is_done(self) -> bool:
        return self._results.is_complete or (bool(self._task_errors) and not self._results.has_processing)

    def _take(
        self, items: Iterable[Mapping[str, Any]], errors: Iterable[RunwareError], *, is_cumulative: bool
    ) -> None:
        feed = self._results.poll if is_cumulative else self._results.push
        final, moved = feed([dict(item) for item in items])
        for item in moved:
            self._teller.call(self._options.on_progress, item)
        for item in final:
            self._teller.call(self._options.on_result, item)
        told = {(error.code, error.message) for error in self._task_errors}
        for error in errors:
            if (error.code, error.message) not in told:
                self._task_errors.append(error)
                self._teller.call(self._options.on_result, _error_item(error, self._task))

    def _failure(self) -> RunwareError | None:
        for item in self._results.failures:
            entry = item.get("error")
            error = error_from_wire(
                entry if isinstance(entry, dict) else item,
                task_uuid=self._task_uuid,
                task_type=self._task["taskType"],
            )
            return error.changed(results=self._results.successes)
        if self._task_errors:
            return self._task_errors[0].changed(results=self._results.successes)
        return None


def _error_item(error: RunwareError, task: Mapping[str, Any]) -> Item:
    """Show an error of the envelope as the item that the platform's other form would have been."""
    return {
        "taskType": task["taskType"],
        "taskUUID": task["taskUUID"],
        "status": "error",
        "error": {"code": error.code.value, "message": error.message},
    }
