"""Enqueue: from what a producer asks to rows that are there to stay.

Everything that can be wrong is found before the first write. Media that a producer
hands over as a `Path` is read here, in its process; a worker opens no path.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from runware_jobs.client import RunwareError, file_to_data_uri
from runware_jobs.client.files import encode_local_files
from runware_jobs.client.services.registry import bundled_registry, resolve_task_type
from runware_jobs.core.addresses import AddressRefused, check_url
from runware_jobs.core.identity import job_id_of_key, new_job_id
from runware_jobs.core.inputs import LARGE_BYTES, REFERENCE, extract_inputs, inputs_of
from runware_jobs.core.request import NewJob, Options, make_job, refuse_deep
from runware_jobs.core.states import SCHEDULED, JobState, Kind
from runware_jobs.core.views import moment
from runware_jobs.errors import InvalidJob
from runware_jobs.store.enqueue import Enqueued, enqueue, find_account
from runware_jobs.store.inputs import put_inputs

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from runware_jobs.core.inputs import NewInput
    from runware_jobs.store.plans import Rows, Statement


_NUMBERS: Final = frozenset({int, float, bool, type(None)})


@dataclass(frozen=True, slots=True)
class Asked:
    """A checked job, and the media it brings along."""

    job: NewJob
    inputs: Sequence[NewInput]


def ask(
    params: Mapping[str, Any],
    options: Options,
    *,
    kind: str,
    job_id: UUID | None = None,
    reads_files: bool = False,
    reads_strings: bool = False,
    allow_private: bool = False,
) -> Asked:
    """Check what a producer asks for; nothing is written.

    `reads_files` allows `Path` objects, `reads_strings` also strings that name an
    existing media file in known media parameters: for producers, never for what
    came over a network.

    Raises:
        InvalidJob: with the parameter or option that is wrong, and what to do.
    """
    if not isinstance(params, dict):
        raise InvalidJob("params must be a dict of the platform's parameters", parameter="params")
    inputs: Sequence[NewInput] = ()
    if _is_plain(params) and not reads_strings:
        filled = _with_task_type(kind, params)
    else:
        refuse_deep(params)
        filled = _with_task_type(kind, params)
        filled = _read_paths(filled, allowed=reads_files)
        if reads_strings:
            filled = encode_local_files(filled, encode=file_to_data_uri)
        filled, inputs = extract_inputs(filled)
    if options.webhook_url is not None:
        try:
            check_url(options.webhook_url, allow_private=allow_private)
        except AddressRefused as error:
            raise InvalidJob(f"webhook_url: {error.message}", parameter="webhook_url") from error
    job = make_job(job_id or new_job_id(), kind, filled, options, inputs=inputs_of(inputs))
    key = options.idempotency_key or options.external_id
    if job_id is None and key is not None:
        job = replace(job, id=job_id_of_key(options.tenant, key, job.request_hash))
    return Asked(job, inputs)


def plan(
    asked: Sequence[Asked],
    *,
    tenant: str,
    base_url: str | None,
    fallback_url: str,
    batch_id: UUID | None = None,
) -> Generator[Statement, Rows, list[Enqueued]]:
    """Plan the writing of checked jobs: their media, then all rows in one statement."""
    inputs = {new.sha256: new for one in asked for new in one.inputs}
    if inputs:
        # Two producers at once on a new database: an input must not wait for a job to make its account.
        yield from find_account(base_url=base_url, fallback_url=fallback_url)
        yield from put_inputs(
            list(inputs.values()), tenant=tenant, base_url=base_url, fallback_url=fallback_url
        )
    return (
        yield from enqueue(
            [one.job for one in asked], base_url=base_url, fallback_url=fallback_url, batch_id=batch_id
        )
    )


def _after(instant: datetime | None, seconds: float | None) -> datetime | None:
    return None if instant is None or seconds is None else instant + timedelta(seconds=seconds)


def new_view(asked: Asked, added: Enqueued, batch_id: UUID | None) -> dict[str, Any]:
    """Show a job that was just written, without reading it back."""
    job, options = asked.job, asked.job.options
    return {
        "id": str(job.id),
        "kind": job.kind,
        "state": SCHEDULED if options.delay_s > 0 else JobState.QUEUED,
        "progress": None,
        "params": job.params,
        "results": [],
        "failures": [],
        "error": None,
        "cost_usd": None,
        "billing": "none",
        "task_uuid": None,
        "attempts": [],
        "run": 1,
        "tenant": options.tenant,
        "lane": job.lane,
        "model": job.model,
        "priority": options.priority,
        "batch_id": None if batch_id is None else str(batch_id),
        "custom_id": options.custom_id,
        "external_id": options.external_id,
        "idempotency_key": options.idempotency_key,
        "metadata": dict(options.metadata),
        "tags": list(options.tags),
        "webhook_url": options.webhook_url,
        "max_attempts": options.max_attempts,
        "run_at": moment(added.run_at),
        "deadline_at": moment(_after(added.created_at, options.deadline_s)),
        "eta_at": None,
        "queue_position": None,
        "created_at": moment(added.created_at),
        "submitted_at": None,
        "finished_at": None,
    }


def _is_plain(params: Mapping[str, Any]) -> bool:
    """Tell whether there is no media in params and nothing nested, as in most: it need not be looked for."""
    return REFERENCE not in params and all(
        type(value) in _NUMBERS or (type(value) is str and len(value) < LARGE_BYTES)
        for value in params.values()
    )


def _with_task_type(kind: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Name the task type where the caller left it out; a curated slug becomes its AIR."""
    filled = dict(params)
    if kind == Kind.UPLOAD:
        filled.setdefault("taskType", "mediaStorage")
    elif kind == Kind.TRAINING:
        filled.setdefault("taskType", "training")
    model = filled.get("model")
    if isinstance(model, str):
        filled["model"] = bundled_registry().air_of(model)
    if "taskType" not in filled:
        try:
            filled["taskType"] = resolve_task_type(filled)
        except RunwareError as error:
            raise InvalidJob(
                f"The task type of model {model!r} is not known here: add taskType (for example 'imageInference')."
                if model
                else "params need model (an AIR such as 'runware:400@1') or taskType.",
                parameter="taskType" if model else "model",
            ) from error
    if filled["taskType"] == "mediaStorage":
        filled.setdefault("operation", "upload")
        if filled["operation"] != "upload" or not filled.get("media"):
            raise InvalidJob(
                "a mediaStorage job needs operation 'upload' and media (a Path, URL or data URI)",
                parameter="media",
            )
    return filled


def _read_paths(value: Any, *, allowed: bool) -> Any:
    if isinstance(value, dict):
        return {name: _read_paths(inner, allowed=allowed) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_read_paths(inner, allowed=allowed) for inner in value]
    if isinstance(value, Path):
        if not allowed or not value.is_file():
            raise InvalidJob(f"There is no file {value.name!r} to read here.", parameter="params")
        return file_to_data_uri(value)
    return value
