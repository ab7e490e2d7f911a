"""Inputs: upload what due jobs wait for, once, and let those jobs be claimed.

It runs beside the submits, so that a slow upload holds up nobody but the jobs that
need it. An input is taken in a guarded row before a byte of it leaves: two workers do
not upload the same one, and what a dead worker began is sent again under the same task
UUID. An upload costs nothing, so that an unclear one needs no settling.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import structlog

from runware_jobs.core.answers import JobError
from runware_jobs.core.decisions import RETRIED_CODES, SendOutcome, Sent
from runware_jobs.core.events import EventType
from runware_jobs.core.inputs import KEPT_S, data_uri, goes_ahead, references, upload_task_uuid
from runware_jobs.core.schedule import retry_delay
from runware_jobs.store import inputs as store
from runware_jobs.store.inputs import InputKey
from runware_jobs.store.jobs import fail_waiting_jobs
from runware_jobs.store.moves import announce

from .questions import answers_anybody
from .record import committed
from .words import item_error, send_outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection

    from runware_jobs.core.inputs import Reference
    from runware_jobs.store.inputs import StoredInput, WaitingJob

    from .context import Context

_log = structlog.get_logger()

_JOBS_AT_ONCE: Final = 200
_FAILED_AT_ONCE: Final = 500
# One request: as many as fit well below what proxies cut at; a larger one goes alone.
_INPUTS_AT_ONCE: Final = 16
_BYTES_AT_ONCE: Final = 4_000_000
# In a row, each of its kind: an error that may pass is the last from the third on, an upload
# of which nobody knows what became of it from the fifteenth on, after half an hour and more
# with the pauses between; but only while the platform answers other questions. A large one
# that always times out ends, an outage passes.
_MOST_FAILURES: Final = 3
_MOST_UNCLEAR: Final = 15
# After an upload that was not taken, which says nothing of the input.
_AGAIN_S: Final = 2.0
# Whoever uploads may take this long; the request itself ends long before.
_HELD_S: Final = 180.0

_GONE: Final = JobError("notFound", "An input of this job is no longer stored: enqueue it again.")
_UNANSWERED: Final = JobError(
    "connection",
    "An input of this job was sent again and again, and no answer came: it may be too large.",
    True,
)
_UNNAMED: Final = JobError("provider", "The platform took an input and did not say what it calls it.", True)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """An input to upload, and the earlier upload that no longer counts."""

    key: InputKey
    renewed_after: datetime | None
    stored: StoredInput


@dataclass(slots=True)
class _Round:
    """What due jobs wait for: some for nothing any more, some for what is gone."""

    ready: list[UUID] = field(default_factory=list)
    gone: list[tuple[UUID, JobError]] = field(default_factory=list)
    wanted: dict[InputKey, _Wanted] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What one round did: jobs that may be claimed now, jobs that were failed, inputs that were sent."""

    released: int = 0
    failed: int = 0
    sent: int = 0

    @property
    def has_more(self) -> bool:
        """True when the next round may find something changed."""
        return bool(self.released or self.failed or self.sent)


async def upload_inputs(context: Context) -> Uploaded:
    """Do one round: release jobs whose inputs are with the platform, upload one request's worth for others.

    Killed at any point, the inputs are uploaded again and the jobs are still queued.
    """
    account_id = context.owner.account_id
    async with context.engine.connect() as connection:
        waiting = await store.find_waiting_jobs(connection, account_id, limit=_JOBS_AT_ONCE)
        if not waiting:
            return Uploaded()
        keys = {key for job in waiting for key, _ in _needs(job)}
        known = await store.read_inputs(connection, account_id, keys)
    todo = _sorted(waiting, known)
    released = failed = 0
    if todo.ready or todo.gone:
        async with context.engine.begin() as connection:
            released = await store.let_go(connection, todo.ready)
            failed = await _fail(connection, todo.gone)
    sent, lost = await _upload(context, _one_request(list(todo.wanted.values())))
    return Uploaded(released=released, failed=failed + lost, sent=sent)


def _sorted(waiting: Sequence[WaitingJob], known: Mapping[InputKey, StoredInput]) -> _Round:
    """Sort waiting jobs by what they need, in their order."""
    todo = _Round()
    for job in waiting:
        needs = _needs(job)
        missing = next((reference for key, reference in needs if key not in known), None)
        if missing is not None:
            todo.gone.append((job.job_id, _at(_GONE, missing)))
            continue
        is_ready = True
        for key, reference in needs:
            stored = known[key]
            if not _is_ahead(job, reference, stored) or _is_there(stored, job.renewed_after):
                continue
            is_ready = False
            if not stored.is_on_its_way:
                todo.wanted.setdefault(key, _Wanted(key, job.renewed_after, stored))
        if is_ready:
            todo.ready.append(job.job_id)
    return todo


def _is_there(stored: StoredInput, renewed_after: datetime | None) -> bool:
    if stored.media_uuid is None or stored.uploaded_at is None:
        return False
    return renewed_after is None or stored.uploaded_at > renewed_after


def _one_request(wanted: Sequence[_Wanted]) -> list[_Wanted]:
    """Choose what goes out together; what has failed before goes alone, since it may be what spoilt a group."""
    chosen: list[_Wanted] = []
    size_bytes = 0
    for one in wanted[:_INPUTS_AT_ONCE]:
        size_bytes += one.stored.size_bytes
        if chosen and (size_bytes > _BYTES_AT_ONCE or one.stored.was_tried):
            break
        chosen.append(one)
        if one.stored.was_tried:
            break
    return chosen


async def _upload(context: Context, wanted: Sequence[_Wanted]) -> tuple[int, int]:
    """Upload inputs in one request; give how many were sent, and how many jobs that failed."""
    if not wanted:
        return 0, 0
    turn = await context.pace.turn()
    # Before the account is looked at: whoever pauses it knows when the last byte left.
    send_before = time.time() + context.tempo.send_window_s
    account_id = context.owner.account_id
    begun: dict[UUID, tuple[_Wanted, int]] = {}
    async with context.engine.begin() as connection:
        for one in sorted(wanted, key=lambda one: (one.key.tenant, one.key.sha256)):
            number = await store.begin_upload(
                connection, context.owner, one.key, renewed_after=one.renewed_after, hold_s=_HELD_S
            )
            if number is not None:
                task = upload_task_uuid(context.secret, account_id, one.key.tenant, one.key.sha256, number)
                begun[task] = (one, number)
        contents = await store.read_contents(connection, account_id, [one.key for one, _ in begun.values()])
    if not begun:
        context.pace.give_back(turn)
        return 0, 0
    tasks: list[dict[str, Any]] = [
        {
            "taskType": "mediaStorage",
            "taskUUID": str(task),
            "operation": "upload",
            "media": data_uri(one.stored.media_type, contents[one.key]),
        }
        for task, (one, _) in begun.items()
    ]
    outcomes = await context.client.submit_many(tasks, send_before=send_before, before_more=context.pace.turn)
    context.doubts.hear(outcomes.values())
    failed = 0
    read = {task: send_outcome(outcomes[str(task)]) for task in begun}
    # While nobody is answered, an unclear upload says nothing of the input.
    is_up = all(one.sent is not Sent.UNCLEAR for one in read.values()) or await answers_anybody(context)
    for task, (one, number) in begun.items():
        failed += await _record(context, one, number, read[task], is_up=is_up)
    _log.info(
        "inputs_uploaded", inputs=len(begun), bytes=sum(one.stored.size_bytes for one, _ in begun.values())
    )
    return len(begun), failed


async def _record(context: Context, one: _Wanted, number: int, outcome: SendOutcome, *, is_up: bool) -> int:
    """Write down what became of one upload; give how many jobs failed by it."""
    account_id = context.owner.account_id
    media_uuid, error = _read(outcome)
    if media_uuid is not None:

        async def finish(connection: AsyncConnection) -> None:
            await store.finish_upload(
                connection, account_id, one.key, number=number, media_uuid=media_uuid, keep_s=KEPT_S
            )

        await committed(context.engine, finish)
        return 0

    is_unclear = outcome.sent is Sent.UNCLEAR
    # Our earlier send has arrived, and its answer is lost: one more end that nobody knows.
    is_unanswered = is_unclear or outcome.sent is Sent.CONFLICT
    # While nobody is answered, an unclear upload says nothing of the input: it does not count.
    failed = error is not None or (is_unclear and is_up)
    delay_s = _AGAIN_S if outcome.retry_after_s is None else outcome.retry_after_s
    if failed or is_unclear:
        tries = abs(one.stored.failures) + 1
        delay_s = retry_delay(tries, retry_after_s=outcome.retry_after_s, random=context.random())

    async def put_off(connection: AsyncConnection) -> int:
        return await store.put_off_upload(
            connection,
            account_id,
            one.key,
            number=number,
            delay_s=delay_s,
            failed=failed,
            unanswered=is_unanswered,
            ended=error is not None,
        )

    failures = await committed(context.engine, put_off)
    if is_unclear:
        _log.warning("input_unclear", tenant=one.key.tenant, bytes=one.stored.size_bytes, failures=failures)
        if not failed or failures < _MOST_UNCLEAR:
            return 0
        return await _fail_all(context, one.key, _UNANSWERED)
    if error is None:
        return 0
    _log.warning("input_refused", tenant=one.key.tenant, error_code=error.code, failures=failures)
    if error.code in RETRIED_CODES and failures < (_MOST_UNCLEAR if is_unanswered else _MOST_FAILURES):
        return 0
    return await _fail_all(context, one.key, error)


def _read(outcome: SendOutcome) -> tuple[str | None, JobError | None]:
    """Give what the platform calls the media, or why it ended this upload; neither: it is sent again."""
    match outcome.sent:
        case Sent.ACCEPTED:
            for item in outcome.answer.items:
                if isinstance(item.get("mediaUUID"), str):
                    return item["mediaUUID"], None
                if item.get("status") == "error":
                    return None, item_error(item)
            return None, next(iter(outcome.answer.errors), _UNNAMED)
        case Sent.CONFLICT:
            # An earlier send of the same has arrived, and its answer is lost for good.
            return None, _UNNAMED
        case Sent.REFUSED:
            return None, outcome.error or _UNNAMED
        case Sent.BUSY | Sent.BLOCKED | Sent.NOT_SENT | Sent.UNCLEAR:
            return None, None


async def _fail_all(context: Context, key: InputKey, error: JobError) -> int:
    """Fail every job that waits for an input which the platform does not take."""
    account_id = context.owner.account_id

    async def page(connection: AsyncConnection) -> int:
        jobs = await store.lock_waiting_for(connection, account_id, key, limit=_FAILED_AT_ONCE)
        told = [(job.job_id, _at(error, _place(job, key))) for job in jobs]
        return await _fail(connection, told)

    failed = 0
    while done := await committed(context.engine, page):
        failed += done

    async def give_up(connection: AsyncConnection) -> None:
        await store.give_up_input(connection, account_id, key)

    await committed(context.engine, give_up)
    return failed


async def _fail(connection: AsyncConnection, told: Sequence[tuple[UUID, JobError]]) -> int:
    if not told:
        return 0
    failed = await fail_waiting_jobs(connection, [(job_id, error.to_json()) for job_id, error in told])
    await announce(
        connection,
        [{"job_id": str(job_id), "type": EventType.JOB_FAILED, "data": {}, "back": 0} for job_id in failed],
    )
    return len(failed)


def _needs(job: WaitingJob) -> list[tuple[InputKey, Reference]]:
    return [(InputKey(job.tenant, reference.sha256), reference) for reference in references(job.params)]


def _place(job: WaitingJob, key: InputKey) -> Reference:
    return next(reference for needed, reference in _needs(job) if needed == key)


def _is_ahead(job: WaitingJob, reference: Reference, stored: StoredInput) -> bool:
    return goes_ahead(job.params.get("taskType"), reference.place, stored.media_type, stored.size_bytes)


def _at(error: JobError, reference: Reference) -> JobError:
    """Say of which parameter of the job an error speaks; the platform knows only its upload."""
    return JobError(
        code=error.code,
        message=error.message,
        retryable=error.retryable,
        parameter=reference.parameter,
        documentation=error.documentation,
    )
