"""Places in a list that is sorted newest first, as opaque text."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson

from runware_jobs.errors import InvalidJob

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def read_cursor(cursor: str | None) -> tuple[datetime, UUID] | None:
    """Read a cursor that `page` gave; None is the beginning.

    Raises:
        InvalidJob: it is none.
    """
    if cursor is None:
        return None
    try:
        created_at, row_id = orjson.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
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


def _cursor(view: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([view["created_at"], view["id"]])).decode()


def _no_cursor() -> InvalidJob:
    return InvalidJob("cursor is none of ours: pass next_cursor of the page before", parameter="cursor")
