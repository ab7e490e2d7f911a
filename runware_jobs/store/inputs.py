"""Large inputs, stored once by content: producers put them in, workers upload them or send them along.

`input.media_uuid` is what the platform calls one, until `expires_at`. Without it,
`expires_at` is how long whoever uploads it now may take, and `uploads` numbers that
upload: the task UUID that derives from it is the same until its outcome is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from runware_jobs.core.states import Inputs

from .accounts import PRODUCERS_ACCOUNT
from .columns import WAITING_FOR_INPUTS
from .plans import Statement, as_json
from .tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection

    from runware_jobs.core.inputs import NewInput

    from .plans import Rows
    from .processes import Owner

_LOOKED_AT: Final = 10_000
"""Of each bucket, so many waiting jobs are looked at for one whose inputs nobody has: a bound on one round."""

_ROUNDS: Final = 3
"""Content may be pruned at the moment when it is looked for: look, and put it in again."""


@dataclass(frozen=True, slots=True)
class InputKey:
    """Which input of an account: each tenant's are its own."""

    tenant: str
    sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredInput:
    """What is known of an input. `media_uuid` None: not with the platform, or not relied on any more.

    `is_on_its_way`: somebody uploads it, or waits before uploading it again. `was_tried`:
    an upload of it has begun and has not come through. `failures`: so many in a row
    of one kind, above 0 ended by the platform, below 0 with an end that nobody knows.
    """

    media_type: str
    size_bytes: int
    media_uuid: str | None
    uploaded_at: datetime | None
    is_on_its_way: bool
    was_tried: bool
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingJob:
    """A due job that is not claimed before its inputs are uploaded.

    `renewed_after`: only an upload later than this counts, because the platform did
    not know the earlier one.
    """

    job_id: UUID
    tenant: str
    params: dict[str, Any]
    renewed_after: datetime | None


def put_inputs(
    inputs: Sequence[NewInput], *, tenant: str, base_url: str | None, fallback_url: str
) -> Generator[Statement, Rows, None]:
    """Plan the storing of inputs; content that is there already is not sent again.

    What is there stays until the caller's transaction ends: pruning passes over it.
    """
    missing = {new.sha256: new for new in inputs}
    values = {"tenant": tenant, "base_url": base_url, "fallback_url": fallback_url}
    for _ in range(_ROUNDS):
        for row in (yield Statement(_KEEP, values | {"hashes": list(missing)})):
            missing.pop(bytes(row["sha256"]))
        for sha256, new in list(missing.items()):
            rows = yield Statement(
                _PUT, values | {"sha256": sha256, "content": new.content, "media_type": new.media_type}
            )
            if rows:
                del missing[sha256]
        if not missing:
            return


async def read_inputs(
    connection: AsyncConnection, account_id: int, keys: Iterable[InputKey]
) -> dict[InputKey, StoredInput]:
    """Read what is known of inputs, without their content; those that are not stored are left out."""
    rows = await connection.execute(text(_READ), {"account_id": account_id, "keys": _keys(keys)})
    return {
        InputKey(row["tenant"], bytes(row["sha256"])): StoredInput(
            media_type=row["media_type"],
            size_bytes=row["size_bytes"],
            media_uuid=row["media_uuid"],
            uploaded_at=row["uploaded_at"],
            is_on_its_way=row["is_on_its_way"],
            was_tried=row["was_tried"],
            failures=row["failures"],
        )
        for row in rows.mappings()
    }


async def read_contents(
    connection: AsyncConnection, account_id: int, keys: Iterable[InputKey]
) -> dict[InputKey, bytes]:
    """Read the content of inputs."""
    rows = await connection.execute(text(_CONTENTS), {"account_id": account_id, "keys": _keys(keys)})
    return {InputKey(row.tenant, bytes(row.sha256)): bytes(row.content) for row in rows}


async def find_waiting_jobs(connection: AsyncConnection, account_id: int, *, limit: int) -> list[WaitingJob]:
    """Find due jobs that wait for their inputs, in the order in which a claim would take them.

    Left out are jobs of which an input is on its way, or put off: nothing can be done for
    them now, and they would keep those behind them from being found.
    """
    values = {"account_id": account_id, "limit": limit, "looked_at": _LOOKED_AT}
    rows = await connection.execute(text(_WAITING), values)
    return [WaitingJob(**row) for row in rows.mappings()]


async def let_go(connection: AsyncConnection, job_ids: Iterable[UUID]) -> int:
    """Let jobs be claimed, their inputs being uploaded; give how many still waited."""
    done = await connection.execute(text(_LET_GO), {"ids": [str(job_id) for job_id in job_ids]})
    return done.rowcount


async def wait_again(connection: AsyncConnection, job_ids: Iterable[UUID]) -> None:
    """Let jobs wait for their inputs again, because an upload of theirs is too old to rely on."""
    await connection.execute(text(_WAIT_AGAIN), {"ids": [str(job_id) for job_id in job_ids]})


async def begin_upload(
    connection: AsyncConnection,
    owner: Owner,
    key: InputKey,
    *,
    renewed_after: datetime | None,
    hold_s: float,
) -> int | None:
    """Take an input to upload it, for `hold_s` seconds; give the number of the upload.

    None: it is there already, somebody else has it, the account is paused, or the
    owner's lease has lapsed. An upload whose outcome nobody knows keeps its number.
    """
    values = {
        "account_id": owner.account_id,
        "owner_id": owner.id,
        "epoch": owner.epoch,
        "tenant": key.tenant,
        "sha256": key.sha256,
        "renewed_after": renewed_after,
        "hold_s": hold_s,
    }
    row = (await connection.execute(text(_BEGIN), values)).one_or_none()
    return None if row is None else int(row.uploads)


async def finish_upload(
    connection: AsyncConnection,
    account_id: int,
    key: InputKey,
    *,
    number: int,
    media_uuid: str,
    keep_s: float,
) -> None:
    """Note what the platform calls an input; from now on it is relied on for `keep_s` seconds."""
    await connection.execute(
        text(_FINISH),
        {
            **_named(account_id, key, number),
            "media_uuid": media_uuid,
            "keep_s": keep_s,
        },
    )


async def put_off_upload(
    connection: AsyncConnection,
    account_id: int,
    key: InputKey,
    *,
    number: int,
    delay_s: float,
    failed: bool,
    unanswered: bool,
    ended: bool,
) -> int:
    """Give an input back for an upload in `delay_s` seconds; give how often in a row it has failed like this.

    `failed`: count this one; one kind of failure says nothing of the other. `ended`: the
    platform has ended this upload, so that the next one has a number of its own; otherwise
    the same upload is sent again. 0 is given, and nothing changes, when another upload has
    taken its place or has come through.
    """
    values = {
        **_named(account_id, key, number),
        "delay_s": delay_s,
        "failed": failed,
        "unanswered": unanswered,
        "ended": ended,
    }
    row = await connection.execute(text(_PUT_OFF), values)
    return abs(int(row.scalar_one_or_none() or 0))


async def give_up_input(connection: AsyncConnection, account_id: int, key: InputKey) -> None:
    """Forget that uploads of an input have failed, once its jobs were told: a later job tries anew."""
    await connection.execute(
        text(f"UPDATE {SCHEMA}.input SET failures = 0 WHERE {_KEY}"), _named(account_id, key, 0)
    )


async def lock_waiting_for(
    connection: AsyncConnection, account_id: int, key: InputKey, *, limit: int
) -> list[WaitingJob]:
    """Lock jobs that wait for this input, at most `limit`."""
    rows = await connection.execute(
        text(_LOCK_WAITING_FOR),
        {"account_id": account_id, "tenant": key.tenant, "sha256": key.sha256.hex(), "limit": limit},
    )
    return [WaitingJob(**row, renewed_after=None) for row in rows.mappings()]


async def prune_inputs(connection: AsyncConnection, *, older_than_s: float, limit: int) -> int:
    """Remove at most `limit` inputs older than that which no job refers to; the caller commits."""
    values = {"older_than_s": older_than_s, "limit": limit}
    locked = (await connection.execute(text(_LOCK_OLD), values)).mappings().all()
    if not locked:
        return 0
    # Looked at again now that they are locked: a job that came between kept its inputs
    # until its commit, and is seen by this statement.
    keys = as_json(
        [
            {
                "account_id": row["account_id"],
                "tenant": row["tenant"],
                "sha256": bytes(row["sha256"]).hex(),
            }
            for row in locked
        ]
    )
    removed = await connection.execute(text(_PRUNE), {"keys": keys})
    return removed.rowcount


def _keys(keys: Iterable[InputKey]) -> str:
    return as_json([{"tenant": key.tenant, "sha256": key.sha256.hex()} for key in keys])


def _named(account_id: int, key: InputKey, number: int) -> Mapping[str, Any]:
    return {"account_id": account_id, "tenant": key.tenant, "sha256": key.sha256, "number": number}


_KEY: Final = "account_id = :account_id AND tenant = :tenant AND sha256 = CAST(:sha256 AS bytea)"

_KEEP: Final = f"""
WITH {PRODUCERS_ACCOUNT}
SELECT sha256 FROM {SCHEMA}.input JOIN account ON account.id = input.account_id
WHERE tenant = :tenant AND sha256 = ANY (CAST(:hashes AS bytea[])) FOR KEY SHARE OF input
"""

_PUT: Final = f"""
WITH {PRODUCERS_ACCOUNT}
INSERT INTO {SCHEMA}.input (account_id, tenant, sha256, content, media_type, size_bytes)
SELECT id, :tenant, CAST(:sha256 AS bytea), CAST(:content AS bytea), :media_type, octet_length(CAST(:content AS bytea))
FROM account
ON CONFLICT DO NOTHING RETURNING sha256
"""

_ASKED: Final = """
WITH asked AS (
    SELECT tenant, decode(sha256, 'hex') AS sha256
    FROM jsonb_to_recordset(CAST(:keys AS jsonb)) AS asked(tenant text, sha256 text)
)"""

_ON_ITS_WAY: Final = "media_uuid IS NULL AND expires_at > clock_timestamp()"

_READ: Final = f"""{_ASKED}
SELECT tenant, sha256, media_type, size_bytes, uploaded_at, failures,
    CASE WHEN expires_at > clock_timestamp() THEN media_uuid END AS media_uuid,
    COALESCE({_ON_ITS_WAY}, false) AS is_on_its_way,
    media_uuid IS NULL AND uploads > 0 AS was_tried
FROM {SCHEMA}.input JOIN asked USING (tenant, sha256) WHERE account_id = :account_id
"""

_CONTENTS: Final = f"""{_ASKED}
SELECT tenant, sha256, content FROM {SCHEMA}.input JOIN asked USING (tenant, sha256)
WHERE account_id = :account_id
"""

_WAITING: Final = f"""
SELECT job.id AS job_id, job.tenant, job.params, CASE WHEN job.inputs = '{Inputs.RENEWING}' THEN (
    SELECT max(submitted_at) FROM {SCHEMA}.attempt WHERE attempt.job_id = job.id) END AS renewed_after
FROM (
    SELECT due.id, priority, turn, last_served_at FROM {SCHEMA}.bucket CROSS JOIN LATERAL (
        SELECT id, row_number() OVER (ORDER BY run_at, id) AS turn FROM (
            SELECT id, run_at, params FROM {SCHEMA}.job
            WHERE bucket_id = bucket.id AND {WAITING_FOR_INPUTS} AND run_at <= now()
            ORDER BY run_at, id LIMIT :looked_at) AS first
        -- Looked at once: usually no input is on its way, and nothing more is asked of a job.
        WHERE NOT EXISTS (SELECT FROM {SCHEMA}.input WHERE account_id = :account_id AND {_ON_ITS_WAY})
           OR NOT EXISTS (
            -- No join: one look by key for each, whatever the planner believes of `input`.
            SELECT FROM jsonb_path_query(params, '$.**."$input"') AS needed(hash)
            WHERE (SELECT {_ON_ITS_WAY} FROM {SCHEMA}.input
                   WHERE input.account_id = :account_id AND input.tenant = bucket.tenant
                     AND input.sha256 = decode(hash #>> '{{}}', 'hex')))
        ORDER BY run_at, id LIMIT :limit) AS due
    WHERE bucket.account_id = :account_id AND bucket.state = 'open'
      -- Looked at once, and first: usually nobody waits, and there are buckets by the thousand.
      AND EXISTS (SELECT FROM {SCHEMA}.job WHERE {WAITING_FOR_INPUTS})
    ORDER BY priority DESC, turn, last_served_at NULLS FIRST LIMIT :limit
) AS picked
JOIN {SCHEMA}.job ON job.id = picked.id
ORDER BY picked.priority DESC, turn, last_served_at NULLS FIRST
"""

_LET_GO: Final = f"""
UPDATE {SCHEMA}.job SET inputs = CASE inputs WHEN '{Inputs.RENEWING}' THEN '{Inputs.RENEWED}' ELSE '{Inputs.READY}' END
WHERE id = ANY (CAST(:ids AS uuid[])) AND {WAITING_FOR_INPUTS}
"""

_WAIT_AGAIN: Final = f"""
UPDATE {SCHEMA}.job SET inputs = '{Inputs.AWAITED}'
WHERE id = ANY (CAST(:ids AS uuid[])) AND inputs IN ('{Inputs.READY}', '{Inputs.RENEWED}')
"""

_BEGIN: Final = f"""
UPDATE {SCHEMA}.input SET
    uploads = uploads + CASE WHEN uploads = 0 OR media_uuid IS NOT NULL THEN 1 ELSE 0 END,
    media_uuid = NULL, expires_at = clock_timestamp() + make_interval(secs => :hold_s)
WHERE {_KEY}
  AND (expires_at IS NULL OR expires_at <= clock_timestamp()
       OR (media_uuid IS NOT NULL AND uploaded_at <= CAST(:renewed_after AS timestamptz)))
  AND EXISTS (SELECT FROM {SCHEMA}.account WHERE id = :account_id AND state = 'open')
  AND EXISTS (SELECT FROM {SCHEMA}.process WHERE id = :owner_id AND epoch = :epoch AND stopped_at IS NULL)
RETURNING uploads
"""

_FINISH: Final = f"""
UPDATE {SCHEMA}.input SET media_uuid = :media_uuid, uploaded_at = clock_timestamp(), failures = 0,
    expires_at = clock_timestamp() + make_interval(secs => :keep_s)
WHERE {_KEY} AND uploads = :number AND media_uuid IS NULL
"""

_PUT_OFF: Final = f"""
UPDATE {SCHEMA}.input SET expires_at = clock_timestamp() + make_interval(secs => :delay_s),
    uploads = uploads + CASE WHEN CAST(:ended AS boolean) THEN 1 ELSE 0 END,
    failures = CASE WHEN NOT CAST(:failed AS boolean) THEN failures
        WHEN CAST(:unanswered AS boolean) THEN LEAST(failures, 0) - 1 ELSE GREATEST(failures, 0) + 1 END
WHERE {_KEY} AND uploads = :number AND media_uuid IS NULL RETURNING failures
"""

_LOCK_WAITING_FOR: Final = f"""
SELECT id AS job_id, tenant, params FROM {SCHEMA}.job
WHERE account_id = :account_id AND tenant = :tenant AND {WAITING_FOR_INPUTS}
  AND jsonb_path_query_array(params, '$.**."$input"') @> jsonb_build_array(CAST(:sha256 AS text))
ORDER BY id LIMIT :limit FOR UPDATE
"""

_UNUSED: Final = f"""
NOT EXISTS (SELECT FROM {SCHEMA}.job WHERE job.account_id = input.account_id AND job.tenant = input.tenant
    AND job.inputs IS NOT NULL
    AND jsonb_path_query_array(job.params, '$.**."$input"') @> jsonb_build_array(encode(input.sha256, 'hex')))
"""

_LOCK_OLD: Final = f"""
SELECT account_id, tenant, sha256 FROM {SCHEMA}.input
WHERE created_at < now() - make_interval(secs => :older_than_s) AND {_UNUSED}
LIMIT :limit FOR UPDATE SKIP LOCKED
"""

_PRUNE: Final = f"""
WITH old AS (
    SELECT account_id, tenant, decode(sha256, 'hex') AS sha256
    FROM jsonb_to_recordset(CAST(:keys AS jsonb)) AS old(account_id bigint, tenant text, sha256 text)
)
DELETE FROM {SCHEMA}.input USING old
WHERE (input.account_id, input.tenant, input.sha256) = (old.account_id, old.tenant, old.sha256) AND {_UNUSED}
"""
