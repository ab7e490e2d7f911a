"""What goes over the wire for attempts: the job's params, their media, what is still lacking, the task UUID."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from runware_jobs.core.answers import JobError
from runware_jobs.core.callbacks import callback_url
from runware_jobs.core.decisions import SendOutcome, Sent
from runware_jobs.core.inputs import data_uri, goes_ahead, references, restore_inputs
from runware_jobs.core.task_types import ANSWERED_AT_ONCE, asking_for
from runware_jobs.store.inputs import InputKey, read_contents, read_inputs, wait_again

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from runware_jobs.core.inputs import Reference
    from runware_jobs.store.inputs import StoredInput

    from .context import Context

_MOST_ALONG_BYTES: Final = 64_000_000
"""How much media one submit carries in memory; what comes on top goes with the next."""

_NO_INPUT: Final = SendOutcome(
    Sent.REFUSED,
    # No error of the platform's about media: uploading again could not help.
    error=JobError("validation", "An input of this job is no longer stored: enqueue it again."),
)
_LATER: Final = SendOutcome(Sent.NOT_SENT)


class ToSend(Protocol):
    """One attempt that is to be sent."""

    @property
    def job_id(self) -> UUID: ...
    @property
    def task_uuid(self) -> UUID: ...
    @property
    def tenant(self) -> str: ...
    @property
    def run(self) -> int: ...
    @property
    def results_expected(self) -> int: ...
    @property
    def params(self) -> dict[str, Any]: ...


@dataclass(slots=True)
class Made:
    """Tasks that may be sent, and what becomes of the attempts that may not, each decided by now."""

    tasks: list[dict[str, Any]] = field(default_factory=list)
    withheld: dict[UUID, SendOutcome] = field(default_factory=dict)


async def make_tasks(context: Context, attempts: Sequence[ToSend], *, is_resend: bool = False) -> Made:
    """Make the task objects of attempts. Outside any transaction of the caller's.

    An attempt whose input is no longer stored is refused. One whose upload is too old
    to rely on is not sent, and its job waits until the input was uploaded again;
    a resend takes the media along instead, because it is the same request or none.
    """
    needed = {key for attempt in attempts for key in _keys_of(attempt)}
    if not needed:
        return Made([_task(context, attempt, attempt.params) for attempt in attempts])
    account_id = context.owner.account_id
    async with context.engine.connect() as connection:
        known = await read_inputs(connection, account_id, needed)
    made = Made()
    along: dict[InputKey, int] = {}
    ready: list[ToSend] = []
    waiting: list[UUID] = []
    for attempt in attempts:
        if any(key not in known for key in _keys_of(attempt)):
            made.withheld[attempt.task_uuid] = _NO_INPUT
            continue
        inline = {
            _key(attempt, reference): known[_key(attempt, reference)].size_bytes
            for reference in references(attempt.params)
            if _media_uuid(attempt, reference, known) is None
        }
        if not is_resend and any(
            _is_ahead(attempt, reference, known) and _key(attempt, reference) in inline
            for reference in references(attempt.params)
        ):
            waiting.append(attempt.job_id)
            made.withheld[attempt.task_uuid] = _LATER
        elif along and inline and sum((along | inline).values()) > _MOST_ALONG_BYTES:
            made.withheld[attempt.task_uuid] = _LATER
        else:
            along |= inline
            ready.append(attempt)
    contents: dict[InputKey, bytes] = {}
    if along:
        async with context.engine.connect() as connection:
            contents = await read_contents(connection, account_id, along)
    if waiting:
        async with context.engine.begin() as connection:
            await wait_again(connection, waiting)
    for attempt in ready:
        made.tasks.append(_task(context, attempt, _with_media(attempt, known, contents)))
    return made


def _task(context: Context, attempt: ToSend, params: Mapping[str, Any]) -> dict[str, Any]:
    asked = asking_for(params, attempt.results_expected, run=attempt.run)
    task = {**asked, "taskUUID": str(attempt.task_uuid)}
    if context.callback_base_url is not None and params.get("taskType") not in ANSWERED_AT_ONCE:
        task["webhookURL"] = callback_url(context.callback_base_url, context.secret, attempt.task_uuid)
    return task


def _with_media(
    attempt: ToSend, known: Mapping[InputKey, StoredInput], contents: Mapping[InputKey, bytes]
) -> dict[str, Any]:
    def media(reference: Reference) -> str:
        key = _key(attempt, reference)
        media_uuid = _media_uuid(attempt, reference, known)
        return media_uuid or data_uri(known[key].media_type, contents[key])

    restored: dict[str, Any] = restore_inputs(attempt.params, media)
    return restored


def _media_uuid(attempt: ToSend, reference: Reference, known: Mapping[InputKey, StoredInput]) -> str | None:
    """Give the UUID that stands for the input at this place; None when the media itself goes along."""
    if not _is_ahead(attempt, reference, known):
        return None
    return known[_key(attempt, reference)].media_uuid


def _is_ahead(attempt: ToSend, reference: Reference, known: Mapping[InputKey, StoredInput]) -> bool:
    stored = known[_key(attempt, reference)]
    return goes_ahead(attempt.params.get("taskType"), reference.place, stored.media_type, stored.size_bytes)


def _key(attempt: ToSend, reference: Reference) -> InputKey:
    return InputKey(attempt.tenant, reference.sha256)


def _keys_of(attempt: ToSend) -> set[InputKey]:
    return {_key(attempt, reference) for reference in references(attempt.params)}
