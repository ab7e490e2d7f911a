"""Places in a list that is sorted newest first, as opaque text."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import orjson

from runware_jobs.errors import InvalidJob
from runware_jobs.store.redelivery import EventPlace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SEQ_END: Final = 2**31
"""What Postgres holds as an integer."""


def read_cursor(cursor: str | None) -> tuple[datetime, UUID] | None:
    """Read a cursor that `page` gave; None is the beginning.

    Raises:
        InvalidJob: it is none.
    """
    if cursor is None:
        return None
    try:
        created_at, row_id = _read(cursor)
        instant, found = datetime.fromisoformat(created_at), UUID(row_id)
    except (binascii.Error, ValueError, TypeError, AttributeError):
        raise _no_cursor() from None
    if instant.tzinfo is None:
        raise _no_cursor()
    return instant, found


def page(name: str, views: Sequence[Mapping[str, Any]], *, limit: int) -> dict[str, Any]:
    """Show the first `limit` of `views`, which hold one more where there is another page."""
    shown = views[:limit]
    more = len(views) > limit
    return {name: shown, "next_cursor": _cursor(shown[-1]) if more else None}


def read_event_cursor(cursor: str | None) -> EventPlace | None:
    """Read a cursor that `event_cursor` gave; None is the beginning.

    Raises:
        InvalidJob: it is none.
    """
    if cursor is None:
        return None
    try:
        created_at, seq, event_id = _read(cursor)
        place = EventPlace(datetime.fromisoformat(created_at), int(seq), UUID(event_id))
    except (binascii.Error, ValueError, TypeError, AttributeError):
        raise _no_cursor() from None
    if place.created_at.tzinfo is None or not 0 <= place.seq < _SEQ_END:
        raise _no_cursor()
    return place


def event_cursor(place: EventPlace | None) -> str | None:
    """Show where a list of events goes on."""
    return None if place is None else _text([place.created_at, place.seq, str(place.id)])


def _cursor(view: Mapping[str, Any]) -> str:
    return _text([view["created_at"], view["id"]])


def _read(cursor: str) -> Any:
    return orjson.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))


def _text(place: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode()


def _no_cursor() -> InvalidJob:
    return InvalidJob("cursor is none of ours: pass next_cursor of the page before", parameter="cursor")
