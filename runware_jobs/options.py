"""Options and ids as people and programs spell them: checked, and turned into what the rooms take."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any
from uuid import UUID

from .client import file_to_data_uri
from .core.request import Options
from .errors import InvalidJob

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .settings import Settings


def read_options(given: Mapping[str, Any], settings: Settings, *, is_operator: bool = True) -> Options:
    """Read the options of `enqueue`; the settings fill in the deadline of jobs that name none.

    Who is no operator cannot lift JOB_DEADLINE_S: for him None is as if he named none, and
    a later deadline is refused. For an operator None means that there is no deadline.

    Raises:
        InvalidJob: one is unknown or of the wrong type, or the deadline is too late.
    """
    known = set(Options.__dataclass_fields__) - {"canvas"}  # Celery's own: no producer gives it
    unknown = sorted(set(given) - known)
    if unknown:
        raise InvalidJob(
            f"unknown option {unknown[0]!r}; options are {', '.join(sorted(known))}", parameter=unknown[0]
        )
    values = dict(given)
    if "tags" in values:
        if not isinstance(values["tags"], list | tuple | set | frozenset):
            raise InvalidJob("tags must be a list of strings", parameter="tags")
        values["tags"] = tuple(values["tags"])
    for name in ("link", "link_error"):
        if values.get(name) is not None:
            # A Celery signature is a dict of its own kind; a plain one is what the row holds.
            if not isinstance(values[name], dict):
                raise InvalidJob(f"{name} must be a Celery signature", parameter=name)
            values[name] = dict(values[name])
    if settings.job_deadline_s is not None:
        values.setdefault("deadline_s", settings.job_deadline_s)
        if not is_operator:
            values["deadline_s"] = _within(values["deadline_s"], settings.job_deadline_s)
    return Options(**values)


def _within(deadline_s: Any, most_s: float) -> Any:
    """Give the deadline, or the latest one in place of none."""
    if deadline_s is None:
        return most_s
    if isinstance(deadline_s, int | float) and deadline_s > most_s:
        raise InvalidJob(
            f"deadline_s must be at most {most_s:g}, the deadline of this server's jobs: lower it, or leave it out",
            parameter="deadline_s",
        )
    return deadline_s


def read_id(value: str | UUID) -> UUID:
    """Read a job's or batch's id.

    Raises:
        InvalidJob: it is no UUID.
    """
    try:
        return value if isinstance(value, UUID) else UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise InvalidJob(f"{value!r} is not a job's id: ids are UUIDs", parameter="id") from None


def read_budget(value: Decimal | float | str | None) -> Decimal | None:
    """Read a budget in dollars; None is none.

    Raises:
        InvalidJob: it is no positive amount.
    """
    try:
        budget = dollars(value)
    except InvalidOperation:
        budget = Decimal(0)
    if budget is not None and not (budget.is_finite() and budget > 0):
        raise InvalidJob("budget_usd must be a positive amount of dollars", parameter="budget_usd")
    return budget


def dollars(value: Decimal | float | str | None) -> Decimal | None:
    """Read an amount of dollars as a person writes it; None stays None."""
    return None if value is None else Decimal(str(value))


def media_params(media: Path | str | bytes) -> dict[str, Any]:
    """Make the params of a media upload from a Path, bytes, URL or data URI."""
    value = file_to_data_uri(media) if isinstance(media, bytes) else media
    return {"taskType": "mediaStorage", "operation": "upload", "media": value}
