"""Questions that have to be repeated until they are answered: `get_response` and the phases of an upload.

Both stand on `poll_many`, which asks once and tells what came back.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .config import RunOptions
from .error_codes import REQUEST_TIMEOUT, UNREADABLE_ANSWER
from .errors import create_runware_error
from .outcomes import Missing, NoAnswer, Polled
from .parts import pause_before_retry, unless_cancelled
from .routing import FINAL_PHASES
from .sending import poll_many
from .utilities import ask, upload_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .envelope import Item
    from .parts import Parts

_PHASE_PAUSE_S = 2.0
# What getResponse shows for an upload is not documented: if it knows nothing of it for this long, it never will.
_UNKNOWN_GRACE_S = 30.0


async def get_response(
    parts: Parts, params: Mapping[str, Any], options: RunOptions | None = None
) -> list[Item]:
    """Ask for the present items of a task.

    Errors:
        RunwareError: the task failed as a whole, `taskUUID` is missing, or the platform could not be asked.
    """
    task_uuid = params.get("taskUUID")
    if not isinstance(task_uuid, str) or not task_uuid:
        raise create_runware_error(
            "missingTaskUUID", 'Name the task: {"taskUUID": "..."}.', parameter="taskUUID"
        )
    options = options or RunOptions()
    return await unless_cancelled(_get_response(parts, task_uuid), options.cancel_event)


async def upload_model(
    parts: Parts,
    params: Mapping[str, Any],
    options: RunOptions | None,
    on_phase: Callable[[Item], object] | None,
) -> list[Item]:
    """Upload a model and follow it to its last phase.

    A socket is told each phase. Over HTTP the first answer may be an ACK only; then the phases are asked for.
    """
    options = options or RunOptions()
    phases = await ask(parts, "modelUpload", params, options, on_phase=on_phase)
    if any(phase.get("status") in FINAL_PHASES for phase in phases):
        return phases
    told = [phase for phase in phases if phase.get("status") is not None]
    budget_s = (options.timeout or parts.config.poll_timeout) / 1_000
    follow = _follow_phases(parts, phases[0]["taskUUID"], told, on_phase, budget_s)
    return await unless_cancelled(follow, options.cancel_event)


async def _get_response(parts: Parts, task_uuid: str) -> list[Item]:
    attempt = 0
    while True:
        outcomes = await poll_many(
            (task_uuid,), transport=parts.transport, fallback=parts.poll_fallback, config=parts.config
        )
        match outcomes[task_uuid]:
            case Polled(items, errors):
                if errors and not items:
                    raise errors[0]
                return [dict(item) for item in items]
            case Missing(error):
                if error is not None:
                    raise error
                return []
            case NoAnswer(error):
                await pause_before_retry(parts, error, attempt)
                attempt += 1


async def _follow_phases(
    parts: Parts, task_uuid: str, told: list[Item], on_phase: Callable[[Item], object] | None, budget_s: float
) -> list[Item]:
    loop = asyncio.get_running_loop()
    known_at = started_at = loop.time()
    while loop.time() - started_at < budget_s:
        await asyncio.sleep(_PHASE_PAUSE_S)
        items = await _phases_now(parts, task_uuid)
        if items:
            known_at = loop.time()
        for item in items:
            if item.get("status") not in {phase.get("status") for phase in told}:
                told.append(item)
                if on_phase is not None:
                    on_phase(item)
        failure = upload_errors(told, task_uuid)
        if failure:
            raise failure[0]
        if any(phase.get("status") in FINAL_PHASES for phase in told):
            return told
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
    outcomes = await poll_many(
        (task_uuid,), transport=parts.transport, fallback=parts.poll_fallback, config=parts.config
    )
    outcome = outcomes[task_uuid]
    if isinstance(outcome, Polled):
        if outcome.errors:
            raise outcome.errors[0]
        return [dict(item) for item in outcome.items]
    if isinstance(outcome, NoAnswer) and not outcome.error.retryable:
        raise outcome.error
    return []
