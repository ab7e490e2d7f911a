"""One task from parameters to results: prepare, submit, poll until all items are there.

Used by `Runware.run`. It lives in memory: a run that must survive its process belongs to the queue.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from typing import TYPE_CHECKING, Any, assert_never

from runware_jobs.client.backoff import RESEND_AGE_S
from runware_jobs.client.call_options import NO_CALL_OPTIONS, CallOptions
from runware_jobs.client.error_codes import REQUEST_TIMEOUT, SILENT_ANSWER, ErrorCode
from runware_jobs.client.errors import RunwareError, create_runware_error, error_from_wire, raw_code_of
from runware_jobs.client.files import encode_local_files, holds_local_files
from runware_jobs.client.outcomes import (
    Accepted,
    Blocked,
    Busy,
    Conflict,
    Missing,
    NoAnswer,
    NotSent,
    Polled,
    Refused,
    Unclear,
)
from runware_jobs.client.parts import Parts, is_given_up, pause_before_retry, unless_cancelled
from runware_jobs.client.services.registry import resolve_task_type
from runware_jobs.client.services.validating import validate_params
from runware_jobs.client.wire.exchange import Exchange, Kind
from runware_jobs.client.wire.grouping import TaskGroup, encode_task
from runware_jobs.client.wire.routing import REQUEST_CODES
from runware_jobs.client.wire.verdicts import submit_outcomes

from .results import ItemState, ResultSet, expected_items, item_state
from .run_requests import submit
from .telling import Teller

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runware_jobs.client.config import RunOptions
    from runware_jobs.client.outcomes import SubmitOutcome
    from runware_jobs.client.wire.envelope import Item

_FIRST_POLL_S = 1.0
_POLL_GROWTH = 1.5
_MAX_POLL_S = 10.0
# A poll leaves up to this share of the pause earlier or later, whenever others leave; spread, it meets no convoys.
_POLL_SPREAD = 0.2
# The platform may not know a fresh task at once; one that it names as unknown for longer is gone.
_UNKNOWN_GRACE_S = 15.0
# It never waits for a delivery method: its schema has none and it always answers with an ACK.
_WITHOUT_DELIVERY = frozenset({"training"})
# What becomes of a task that was taken; any other word at submit speaks of the request, or of a try of it.
_FATES = frozenset({ErrorCode.SAFETY, ErrorCode.PROVIDER})


async def run(
    parts: Parts, params: Mapping[str, Any], options: RunOptions, call: CallOptions = NO_CALL_OPTIONS
) -> list[Item]:
    """Run one task and give its items in order; see `Runware.run`."""
    task = await unless_cancelled(_checked(parts, params, options), options.cancel_event, parts.closing)
    one = _Run(parts, task, options, call)
    budget_s = (options.timeout or parts.config.poll_timeout) / 1_000
    try:
        return await unless_cancelled(one.within(budget_s), options.cancel_event, parts.closing)
    except RunwareError as error:
        told = error.about(task)
        raise told.changed(results=told.results or one.successes) from told.__cause__


async def prepare_task(parts: Parts, params: Mapping[str, Any]) -> dict[str, Any]:
    """Make the wire's task: files encoded, slug rewritten, task type, UUID and delivery filled in."""
    task = await with_local_files(parts, params)
    registry = await parts.registry.for_params(task)
    task["taskType"] = resolve_task_type(task, registry)
    if isinstance(task.get("model"), str):
        task["model"] = registry.air_of(task["model"])
    task["taskUUID"] = str(task.get("taskUUID") or uuid.uuid4())
    if task["taskType"] not in _WITHOUT_DELIVERY:
        task.setdefault("deliveryMethod", "async")
    if task.get("deliveryMethod") == "stream":
        raise create_runware_error(
            "invalidDeliveryMethod",
            'run() cannot deliver a stream: use stream(), or "async".',
            parameter="deliveryMethod",
        )
    return task


async def with_local_files(parts: Parts, params: Mapping[str, Any]) -> dict[str, Any]:
    """Copy params with local files read, unless the client is not to read any."""
    if parts.config.encode_local_files and holds_local_files(params):
        return await asyncio.to_thread(encode_local_files, params)
    return dict(params)


async def _checked(parts: Parts, params: Mapping[str, Any], options: RunOptions) -> dict[str, Any]:
    task = await prepare_task(parts, params)
    if parts.config.validate if options.validate is None else options.validate:
        await validate_params(parts.session, parts.config.schemas_base_url, task, parts.log)
    return task


class _Run:
    """The state of one run between its answers."""

    def __init__(self, parts: Parts, task: dict[str, Any], options: RunOptions, call: CallOptions) -> None:
        self._parts = parts
        self._task = task
        self._options = options
        self._call = call
        self._teller = Teller(parts.log)
        self._task_uuid: str = task["taskUUID"]
        self._encoded = encode_task(task)
        self._results = ResultSet(expected_items(task))
        self._task_errors: list[RunwareError] = []
        # With a webhook even a sync task is only acknowledged (PROTOCOL 3.1); a dry run has no results to wait for.
        is_acknowledged = "webhookURL" in task or parts.config.dry_run
        self._is_pushed = task.get("deliveryMethod") == "sync" and not is_acknowledged

    @property
    def successes(self) -> list[Item]:
        """The items that have succeeded so far, in the platform's order."""
        return self._results.successes

    async def within(self, budget_s: float) -> list[Item]:
        """Go to the end, or raise `timeout` when it is not reached in time."""
        started_at = asyncio.get_running_loop().time()
        async with self._teller:
            try:
                async with asyncio.timeout(budget_s):
                    items = await self._to_the_end()
            except TimeoutError as error:
                raise create_runware_error(
                    REQUEST_TIMEOUT,
                    f"The task was not done within {budget_s:g} s. It goes on and is billed: "
                    "ask for it with get_response(), or allow more with RunOptions(timeout=...).",
                    task_type=self._task["taskType"],
                    task_uuid=self._task_uuid,
                ) from error
        return self._with_extras(items, asyncio.get_running_loop().time() - started_at)

    async def _to_the_end(self) -> list[Item]:
        try:
            accepted = await self._submit()
        except RunwareError as error:  # told by the exception alone, but to those who asked for each answer
            self._teller.call(self._call.on_partial, [], error)
            raise
        self._take(accepted.items, accepted.errors, is_cumulative=not self._is_pushed)
        # How the platform answers a dry run is not documented, but there is nothing to come after it.
        is_last_word = self._call.skip_response or self._parts.config.dry_run
        if not self._is_done and not is_last_word:
            await self._poll()
        failure = self._failure()
        if failure is not None:
            raise failure
        if is_last_word and not self._results.is_complete:
            return [dict(item) for item in accepted.items] or [self._ack()]
        return self.successes

    async def _submit(self) -> Accepted:
        """Submit until it is known to be there; nothing in `Accepted` says that an earlier try had arrived."""
        attempt = 0
        may_be_there = is_alone = False
        while True:
            outcome = await self._send(alone=is_alone)
            match outcome:
                case Accepted():
                    return outcome
                case Conflict(error):
                    if may_be_there:
                        return Accepted()
                    raise error
                case Refused(error) if self._is_fate(error):
                    return Accepted(errors=(error, *error.others))
                case Unclear(error) if self._is_pushed:
                    # Its result came once, on a line that is gone; a second send would race the first.
                    raise error.changed(retryable=False)
                case Unclear(error) if may_be_there and raw_code_of(error) == SILENT_ANSWER:
                    # `data: []` to one try after the other is how it acknowledges (PROTOCOL 3.2).
                    return Accepted()
                case Blocked(error) | Refused(error) | Busy(error) | NotSent(error) | Unclear(error):
                    pass
                case _ as never:
                    assert_never(never)
            # A conflict is another task's only while no try of this one can have arrived.
            may_be_there = may_be_there or not isinstance(outcome, NotSent)
            is_unclear = isinstance(outcome, Unclear)
            # What broke may have been a neighbour's doing: from here on this one goes by itself.
            is_alone = is_alone or is_unclear
            await pause_before_retry(
                self._parts,
                error,
                attempt,
                asked="push" if self._is_pushed else "submit",
                may_be_taken=not isinstance(outcome, Busy | NotSent),
                at_least_s=RESEND_AGE_S if is_unclear else 0.0,
            )
            attempt += 1

    def _is_fate(self, error: RunwareError) -> bool:
        """Say whether a refusal is what became of the task: the answer to a sync submit are its results."""
        return error.code in _FATES or (self._is_pushed and error.code not in REQUEST_CODES)

    async def _send(self, *, alone: bool) -> SubmitOutcome:
        if self._is_pushed:
            return await self._push()
        if not alone:
            return await self._parts.submits.send(self._encoded)
        group = TaskGroup((self._encoded,))
        return (await submit(group, self._parts.transport, self._parts.config))[self._task_uuid]

    async def _push(self) -> SubmitOutcome:
        pushed: list[Item] = []

        def on_item(item: Item) -> None:
            pushed.append(item)
            self._take((item,), (), is_cumulative=False)

        timeout_s = self._parts.config.timeout / 1_000
        reply = await self._parts.transport.exchange(
            Exchange(
                group=TaskGroup((self._encoded,)),
                kind=Kind.PUSH,
                timeout_s=timeout_s,
                connect_s=timeout_s,
                expected=self._results.expected,
                on_item=on_item,
            )
        )
        outcome = submit_outcomes((self._task_uuid,), reply)[self._task_uuid]
        if isinstance(outcome, Accepted) and pushed:
            if reply.failure is not None and not self._is_done:
                return Unclear(reply.failure)
            return Accepted(outcome.items[len(pushed) :], outcome.errors)
        return outcome

    async def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        question = encode_task({"taskType": "getResponse", "taskUUID": self._task_uuid})
        pause_s = _FIRST_POLL_S
        unknown_since: float | None = None
        refusals = 0
        while not self._is_done:
            outcome = await self._parts.polls.send(
                question,
                earliest_s=pause_s * (1 - _POLL_SPREAD),
                latest_s=pause_s * (1 + _POLL_SPREAD * random.random()),  # noqa: S311 - spreads polls, hides nothing
            )
            pause_s = min(pause_s * _POLL_GROWTH, _MAX_POLL_S)
            match outcome:
                case Polled(items, errors):
                    unknown_since, refusals = None, 0
                    self._take(items, errors, is_cumulative=True)
                case Missing(error):
                    unknown_since = unknown_since or loop.time()
                    if error is not None and loop.time() - unknown_since > _UNKNOWN_GRACE_S:
                        raise error
                case NoAnswer(error, retry_after_s):
                    # A question costs nothing: a busy or broken line is asked again until the time of the run is over.
                    # One refusal may have meant another request of the socket; the task that it would end is paid for.
                    refusals = 0 if error.retryable else refusals + 1
                    is_final = error.code is ErrorCode.AUTH or refusals > self._parts.config.max_retries
                    if is_given_up(error) or (refusals and is_final):
                        raise error
                    pause_s = max(pause_s, retry_after_s or 0.0)

    @property
    def _is_done(self) -> bool:
        return self._results.is_complete or (bool(self._task_errors) and not self._results.has_processing)

    def _take(
        self, items: Iterable[Mapping[str, Any]], errors: Iterable[RunwareError], *, is_cumulative: bool
    ) -> None:
        feed = self._results.poll if is_cumulative else self._results.push
        final, moved = feed([dict(item) for item in items])
        fresh = self._noted(errors)
        for item in moved:
            self._teller.call(self._options.on_progress, item)
        for item in (*final, *(_error_item(error, self._task) for error in fresh)):
            self._teller.call(self._options.on_result, item)
        if final or fresh:
            arrived = [item for item in final if item_state(item) is ItemState.SUCCESS]
            failed = [self._error_of(item) for item in final if item_state(item) is ItemState.ERROR]
            self._teller.call(self._call.on_partial, arrived, next(iter([*failed, *fresh]), None))

    def _noted(self, errors: Iterable[RunwareError]) -> list[RunwareError]:
        """Keep the errors that were not told before, and give them; each poll tells all of them again."""
        told = {(error.code, error.message) for error in self._task_errors}
        fresh = [error for error in errors if (error.code, error.message) not in told]
        self._task_errors += fresh
        return fresh

    def _failure(self) -> RunwareError | None:
        errors = [*(self._error_of(item) for item in self._results.failures), *self._task_errors]
        return errors[0].changed(results=self.successes) if errors else None

    def _error_of(self, item: Item) -> RunwareError:
        entry = item.get("error")
        return error_from_wire(
            entry if isinstance(entry, dict) else item,
            task_uuid=self._task_uuid,
            task_type=self._task["taskType"],
        )

    def _ack(self) -> Item:
        return {"taskType": self._task["taskType"], "taskUUID": self._task_uuid}

    def _with_extras(self, items: list[Item], duration_s: float) -> list[Item]:
        extras: Item = {}
        if self._call.include_payload:
            extras["payload"] = self._task
        if self._call.include_generation_time:
            extras["generationTime"] = round(duration_s * 1_000)
        return [{**item, "additionalResponse": extras} for item in items] if extras else items


def _error_item(error: RunwareError, task: Mapping[str, Any]) -> Item:
    """Show an error of the envelope as the item that the platform's other form would have been."""
    return {
        "taskType": task["taskType"],
        "taskUUID": task["taskUUID"],
        "status": "error",
        "error": {"code": error.code.value, "message": error.message},
    }
