"""Chords: registered before their header is sent, counted by what has ended, ended once.

Parts are rows of (group, task), never a counter: a part that is told twice counts once.
Whoever brings the last part takes the chord; should it die before the body is sent, the
chord is due again, and a worker's clock finds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .plans import Statement, as_json
from .tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from .plans import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Chord:
    """A chord whose parts are all in: `body` as JSON text, and (task id, status, result as JSON text) in header order."""

    group_id: str
    body: str
    parts: Sequence[tuple[str, str, str]]


def register_chord(group_id: str, header: Sequence[str], body: str) -> Generator[Statement, Rows, None]:
    """Plan to register a chord by the task ids of its header; once registered it stays as it is."""
    values = {"group_id": group_id, "size": len(header), "header": list(header), "body": body}
    yield Statement(_REGISTER, values)


def refuse_chord(group_id: str) -> Generator[Statement, Rows, bool]:
    """Plan to note that a chord is not registered and never will be; True for whoever says so first."""
    return bool((yield Statement(_REFUSE, {"group_id": group_id})))


def resize_chord(group_id: str, *, size: int) -> Generator[Statement, Rows, None]:
    """Plan to set how many parts a chord has; nothing when it has ended, or is none."""
    yield Statement(_RESIZE, {"group_id": group_id, "size": size})


def grow_chord(group_id: str, task_id: str) -> Generator[Statement, Rows, None]:
    """Plan to add one more task to a header that is under way."""
    yield Statement(_GROW, {"group_id": group_id, "task_id": task_id})


def unregistered_chords(group_ids: Iterable[str]) -> Generator[Statement, Rows, list[str]]:
    """Plan to find those of `group_ids` under which nobody has registered a chord here."""
    return [row["group_id"] for row in (yield Statement(_UNREGISTERED, {"ids": sorted(group_ids)}))]


def add_parts(parts: Sequence[Mapping[str, Any]], *, hold_s: float) -> Generator[Statement, Rows, list[str]]:
    """Plan to record parts that have ended; give the chords that are complete by them.

    Each part has `group_id`, `task_id`, `position` (in the header; None: not known),
    `status`, and `result` as JSON text. A chord that is given is the caller's to end for
    `hold_s`, then anybody's. Parts of unknown or ended chords are dropped.
    """
    groups = sorted({part["group_id"] for part in parts})
    # Of two last parts at the same moment the second must see the first.
    yield Statement(_LOCK, {"ids": groups})
    yield Statement(_ADD, {"rows": as_json([dict(part) for part in parts])})
    return [row["group_id"] for row in (yield Statement(_COMPLETE, {"ids": groups, "hold_s": hold_s}))]


def claim_chords(*, limit: int, hold_s: float) -> Generator[Statement, Rows, list[Chord]]:
    """Plan to take complete chords that nobody is ending, the longest due first."""
    taken = yield Statement(_CLAIM, {"limit": limit, "hold_s": hold_s})
    return (yield from _with_parts(taken)) if taken else []


def read_chord(group_id: str) -> Generator[Statement, Rows, Chord | None]:
    """Plan to read a chord that `add_parts` has given; None: somebody has ended it meanwhile."""
    rows = yield Statement(_READ, {"group_id": group_id})
    return (yield from _with_parts(rows))[0] if rows else None


def end_chord(group_id: str) -> Generator[Statement, Rows, None]:
    """Plan to end a chord whose body was sent: its parts are not needed any more."""
    yield Statement(_END, {"group_id": group_id})


def put_off_chord(group_id: str, *, delay_s: float) -> Generator[Statement, Rows, None]:
    """Plan to make a chord due again after `delay_s`."""
    yield Statement(_PUT_OFF, {"group_id": group_id, "delay_s": delay_s})


def _with_parts(chords: Rows) -> Generator[Statement, Rows, list[Chord]]:
    found = yield Statement(_PARTS, {"ids": [chord["group_id"] for chord in chords]})
    return [
        Chord(
            group_id=chord["group_id"],
            body=chord["body"],
            parts=[
                (part["task_id"], part["status"], part["result"])
                for part in found
                if part["group_id"] == chord["group_id"]
            ],
        )
        for chord in chords
    ]


_REGISTER: Final = f"""
INSERT INTO {SCHEMA}.celery_chord (group_id, size, header, body)
VALUES (:group_id, :size, CAST(:header AS text[]), :body) ON CONFLICT (group_id) DO NOTHING
"""

_REFUSE: Final = f"""
INSERT INTO {SCHEMA}.celery_chord (group_id, size, header, body, ended_at) VALUES (:group_id, 0, '{{}}', '', now())
ON CONFLICT (group_id) DO NOTHING RETURNING group_id
"""

_RESIZE: Final = f"""
UPDATE {SCHEMA}.celery_chord SET size = :size
WHERE group_id = :group_id AND due_at IS NULL AND ended_at IS NULL AND size <> :size
"""

_GROW: Final = f"""
UPDATE {SCHEMA}.celery_chord SET size = size + 1, header = header || CAST(:task_id AS text)
WHERE group_id = :group_id AND due_at IS NULL AND ended_at IS NULL AND NOT :task_id = ANY (header)
"""

_UNREGISTERED: Final = f"""
SELECT asked.group_id FROM unnest(CAST(:ids AS text[])) AS asked(group_id)
WHERE NOT EXISTS (SELECT FROM {SCHEMA}.celery_chord WHERE celery_chord.group_id = asked.group_id AND body <> '')
ORDER BY 1
"""

_LOCK: Final = f"""
SELECT group_id FROM {SCHEMA}.celery_chord WHERE group_id = ANY (CAST(:ids AS text[])) ORDER BY group_id FOR UPDATE
"""

_ADD: Final = f"""
INSERT INTO {SCHEMA}.celery_chord_part (group_id, task_id, position, status, result)
SELECT part.group_id, part.task_id, part.position, part.status, part.result
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS part(
    group_id text, task_id text, position integer, status text, result text)
JOIN {SCHEMA}.celery_chord USING (group_id) WHERE celery_chord.ended_at IS NULL
ON CONFLICT (group_id, task_id) DO NOTHING
"""

_COMPLETE: Final = f"""
UPDATE {SCHEMA}.celery_chord SET due_at = now() + make_interval(secs => :hold_s)
WHERE group_id = ANY (CAST(:ids AS text[])) AND due_at IS NULL AND ended_at IS NULL AND size <= (
    SELECT count(*) FROM {SCHEMA}.celery_chord_part AS part WHERE part.group_id = celery_chord.group_id)
RETURNING group_id
"""

_CLAIM: Final = f"""
UPDATE {SCHEMA}.celery_chord SET due_at = now() + make_interval(secs => :hold_s)
WHERE group_id IN (
    SELECT group_id FROM {SCHEMA}.celery_chord WHERE due_at <= now() AND ended_at IS NULL
    ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED)
RETURNING group_id, body
"""

_READ: Final = (
    f"SELECT group_id, body FROM {SCHEMA}.celery_chord WHERE group_id = :group_id AND ended_at IS NULL"
)

_PARTS: Final = f"""
SELECT part.group_id, part.task_id, part.status, part.result
FROM {SCHEMA}.celery_chord_part AS part JOIN {SCHEMA}.celery_chord USING (group_id)
WHERE part.group_id = ANY (CAST(:ids AS text[]))
ORDER BY part.group_id, array_position(header, part.task_id) NULLS LAST, part.position NULLS LAST, part.created_at
"""

_END: Final = f"""
WITH ended AS (
    UPDATE {SCHEMA}.celery_chord SET ended_at = now() WHERE group_id = :group_id AND ended_at IS NULL RETURNING group_id
)
DELETE FROM {SCHEMA}.celery_chord_part AS part USING ended WHERE part.group_id = ended.group_id
"""

_PUT_OFF: Final = f"""
UPDATE {SCHEMA}.celery_chord SET due_at = now() + make_interval(secs => :delay_s)
WHERE group_id = :group_id AND ended_at IS NULL
"""
