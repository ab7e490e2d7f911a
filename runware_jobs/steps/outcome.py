"""One claimed webhook: built, signed, sent, and what its row becomes because of that."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import structlog

from runware_jobs.core.delivery import next_delivery
from runware_jobs.core.signing import SecretKeyWrong, sign
from runware_jobs.store.deliveries import Mark
from runware_jobs.webhooks import Delivered, Failed, FailureReason, Gone

from .webhook_body import body_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from runware_jobs.store.outbox import Due
    from runware_jobs.webhooks import SendResult

    from .context import Context

_log = structlog.get_logger()
_WHEN_BUSY_S: Final = 2.0
# With these an answer speaks for everything that is for the receiver, not for one webhook.
_SLOW_DOWN: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one row: its mark, and what that says of its receiver.

    `is_answered`: 2xx or 410; False: it failed; None: it was not asked. `asked_rest_s`
    is for how long it asked to be left alone.
    """

    mark: Mark
    is_answered: bool | None = None
    is_gone: bool = False
    asked_rest_s: float | None = None
    took_s: float = 0.0


def hand_back(due: Due, *, delay_s: float = 0.0) -> Outcome:
    """Leave a row as if it had not been claimed, due after `delay_s`."""
    return Outcome(mark=Mark(due=due, delay_s=delay_s))


async def send(
    context: Context,
    due: Due,
    job: Mapping[str, Any] | None,
    *,
    unseal: Callable[[bytes], str],
    may_send: Callable[[], bool],
) -> Outcome:
    """Send a webhook, if `may_send` says so when its first byte is to leave; gives what came of it.

    Raises nothing but `CancelledError`: a row whose webhook cannot be made is put off
    like one that failed, and holds up no other.
    """
    started = time.monotonic()
    try:
        # Of this endpoint alone, and the next worker may have the key.
        secrets = [unseal(secret) for secret in due.secrets]
        body = body_of(due, job, public_url=context.callback_base_url)
        headers = sign(secrets, webhook_id=str(due.event_id), timestamp=datetime.now(UTC), body=body)
        result = await context.sender.send(due.url or "", body, headers, may_send=may_send)
    except SecretKeyWrong as error:
        return _not_made(context, due, error.message)
    except Exception as error:  # noqa: BLE001  whatever is wrong with one webhook, the others leave
        _log.error("webhook_not_made", event_id=str(due.event_id), error=type(error).__name__)
        return _not_made(context, due, f"the webhook could not be made: {type(error).__name__}")
    return _judge(context, due, result, took_s=time.monotonic() - started)


def _not_made(context: Context, due: Due, reason: str) -> Outcome:
    delay_s = next_delivery(due.attempts + 1, retry_after_s=None, random=context.random())
    state = "dead" if delay_s is None else "failed"
    return Outcome(mark=Mark(due=due, delay_s=delay_s, state=state, reason=_text(reason)))


def _judge(context: Context, due: Due, result: SendResult, *, took_s: float) -> Outcome:
    if isinstance(result, Failed) and result.reason in {FailureReason.BUSY, FailureReason.LATE}:
        # Nothing was tried: no attempt is used up.
        return hand_back(due, delay_s=_WHEN_BUSY_S)
    answer = _text(result.answer.decode(errors="replace"))
    match result:
        case Delivered(status_code, duration_ms):
            mark = Mark(
                due=due,
                is_done=True,
                state="delivered",
                status_code=status_code,
                duration_ms=duration_ms,
                answer=answer,
            )
            return Outcome(mark=mark, is_answered=True, took_s=took_s)
        case Gone(duration_ms, _, status_code):
            mark = Mark(
                due=due,
                is_done=True,
                state="dead",
                status_code=status_code,
                reason="410: the receiver wants no more",
                duration_ms=duration_ms,
                answer=answer,
            )
            return Outcome(mark=mark, is_answered=True, is_gone=True, took_s=took_s)
        case Failed(reason, status_code, retry_after_s, duration_ms):
            delay_s = next_delivery(due.attempts + 1, retry_after_s=retry_after_s, random=context.random())
            _log.warning("webhook_failed", job_id=str(due.job_id), reason=reason, next_in_s=delay_s)
            mark = Mark(
                due=due,
                delay_s=delay_s,
                state="dead" if delay_s is None else "failed",
                status_code=status_code,
                reason=_text(f"{reason}: {result.detail}"),
                duration_ms=duration_ms,
                answer=answer,
            )
            return Outcome(
                mark=mark,
                is_answered=False,
                asked_rest_s=retry_after_s if status_code in _SLOW_DOWN else None,
                took_s=took_s,
            )


def _text(value: str) -> str:
    """Take out what Postgres stores in no text."""
    return value.replace("\x00", "")
