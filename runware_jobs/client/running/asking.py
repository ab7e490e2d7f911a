"""Questions that have to be repeated until they are answered: `get_response` and the phases of an upload.

Both stand on `poll_many`, which asks once and tells what came back.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from runware_jobs.client.error_codes import REQUEST_TIMEOUT, UNREADABLE_ANSWER
from runware_jobs.client.errors import RunwareError, create_runware_error, with_others
from runware_jobs.client.outcomes import Missing, NoAnswer, Polled
from runware_jobs.client.parts import is_given_up, pause_before_retry, unless_cancelled
from runware_jobs.client.wire.routing import FINAL_PHASES
from runware_jobs.client.wire.sending import poll_many

from .telling import Teller
from .utilities import ask, upload_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runware_jobs.client.call_options import CallOptions
    from runware_jobs.client.config import RunOptions
    from runware_jobs.client.outcomes import PollOutcome
    from runware_jobs.client.parts import Parts
    from runware_jobs.client.wire.envelope import Item

_PHASE_PAUSE_S = 2.0
# What getResponse shows for an upload is not documented: if it knows nothing of it for this long, it never will.
_UNKNOWN_GRACE_S = 30.0
# How an older reference of the platform's SDK spells them.
_SPELLINGS = {"downloadUrl": "downloadURL", "heroImageUrl": "heroImageURL"}


async def get_response(parts: Parts, params: Mapping[str, Any], options: RunOptions) -> list[Item]:
    """Ask for the present items of a task.

    Errors:
        RunwareError: the task failed as a whole, `taskUUID` is missing, or the platform could not be asked.
    """
    if not params.get("taskUUID"):
        raise create_runware_error(
            "missingTaskUUID", 'Name the task: {"taskUUID": "..."}.', parameter="taskUUID"
        )
    work = _get_response(parts, str(params["taskUUID"]))
    return await unless_cancelled(work, options.cancel_event, parts.closing)


async def upload_model(
    parts: Parts, params: Mapping[str, Any], options: RunOptions, call: CallOptions
) -> list[Item]:
    """Upload a model and follow it to its last phase, which is the one item of the answer.

    A socket is told each phase. Over HTTP the first answer may be an ACK only; then the phases are asked for.
    """
    task = {_SPELLINGS.get(name, name): value for name, value in params.items()}
    async with Teller(parts.log) as teller:
        phases = _Phases(teller, call)
        try:
            if call.skip_response or parts.config.dry_run:
                return (await ask(parts, "modelUpload", task, options))[-1:]
            acknowledged = await ask(parts, "modelUpload", task, options, on_item=phases.hear)
            if not phases.are_over:
                await _follow_named(parts, acknowledged[0], phases, options)
        except RunwareError as error:
            phases.ended_with(error)
            raise
    return phases.heard[-1:]


class _Phases:
    """The phases of one upload in the order of their arrival, each told once."""

    def __init__(self, teller: Teller, call: CallOptions) -> None:
        self.heard: list[Item] = []
        self._teller = teller
        self._call = call

    @property
    def are_over(self) -> bool:
        return any(phase["status"] in FINAL_PHASES for phase in self.heard)

    def hear(self, item: Item) -> None:
        """Take an item; one without a phase is an ACK, and one with a phase that was heard is a repetition."""
        status = item.get("status")
        if status is None or any(phase["status"] == status for phase in self.heard):
            return
        self.heard.append(item)
        self._teller.call(self._call.on_phase, item)
        self._teller.call(self._call.on_upload, item, upload_error(item))

    def ended_with(self, error: RunwareError) -> None:
        """Tell what ended the upload, unless a phase has told it."""
        if not self.are_over:
            self._teller.call(self._call.on_upload, None, error)


async def _get_response(parts: Parts, task_uuid: str) -> list[Item]:
    attempt = 0
    while True:
        match await _polled(parts, task_uuid):
            case Polled(items, errors):
                if errors and not items:
                    raise with_others(errors)
                return [dict(item) for item in items]
            case Missing(error):
                if error is not None:
                    raise error
                return []
            case NoAnswer(error):
                await pause_before_retry(parts, error, attempt)
                attempt += 1


async def _follow_named(parts: Parts, ack: Item, phases: _Phases, options: RunOptions) -> None:
    budget_s = (options.timeout or parts.config.poll_timeout) / 1_000
    follow = _follow(parts, ack["taskUUID"], phases, budget_s)
    try:
        await unless_cancelled(follow, options.cancel_event, parts.closing)
    except RunwareError as error:
        told = error.about(ack)
        raise told from told.__cause__


async def _follow(parts: Parts, task_uuid: str, phases: _Phases, budget_s: float) -> None:
    """Ask for the phases until the last one.

    Errors:
        RunwareError: a phase failed, the time was over, or the platform tells nothing of the upload.
    """
    loop = asyncio.get_running_loop()
    known_at = started_at = loop.time()
    while loop.time() - started_at < budget_s:
        await asyncio.sleep(_PHASE_PAUSE_S)
        items = await _phases_now(parts, task_uuid)
        if items:
            known_at = loop.time()
        for item in items:
            phases.hear(item)
        failure = next((error for error in map(upload_error, phases.heard) if error is not None), None)
        if failure is not None:
            raise failure
        if phases.are_over:
            return
        if loop.time() - known_at > _UNKNOWN_GRACE_S:
            raise create_runware_error(
                UNREADABLE_ANSWER,
                "The platform took the upload and tells nothing of its phases: look for the model with model_search().",
                task_type="modelUpload",
                task_uuid=task_uuid,
            ).changed(retryable=False)
    raise create_runware_error(
        REQUEST_TIMEOUT,
        f"The upload was not ready within {budget_s:g} s. It goes on: ask with get_response().",
        task_type="modelUpload",
        task_uuid=task_uuid,
    )


async def _phases_now(parts: Parts, task_uuid: str) -> list[Item]:
    outcome = await _polled(parts, task_uuid)
    if isinstance(outcome, Polled):
        if outcome.errors:
            raise with_others(outcome.errors)
        return [dict(item) for item in outcome.items]
    if isinstance(outcome, NoAnswer) and (not outcome.error.retryable or is_given_up(outcome.error)):
        raise outcome.error
    return []


async def _polled(parts: Parts, task_uuid: str) -> PollOutcome:
    outcomes = await poll_many(
        (task_uuid,), transport=parts.transport, fallback=parts.poll_fallback, config=parts.config
    )
    return outcomes[task_uuid]
