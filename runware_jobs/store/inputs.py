"""Large inputs, stored once by content: producers put them in, submits take them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .accounts import PRODUCERS_ACCOUNT
from .plans import Statement
from .tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from runware_jobs.core.inputs import NewInput

    from .plans import Rows


def put_inputs(
    inputs: Sequence[NewInput], *, tenant: str, base_url: str | None, fallback_url: str
) -> Generator[Statement, Rows, None]:
    """Plan the storing of inputs; content that is there already is not written again."""
    for new in inputs:
        yield Statement(
            _PUT,
            {
                "tenant": tenant,
                "sha256": new.sha256,
                "content": new.content,
                "media_type": new.media_type,
                "base_url": base_url,
                "fallback_url": fallback_url,
            },
        )


def take_inputs(
    hashes: Iterable[bytes], *, account_id: int, tenant: str
) -> Generator[Statement, Rows, dict[bytes, tuple[str, bytes]]]:
    """Plan the reading of inputs: their media type and content, by hash."""
    rows = yield Statement(
        _TAKE, {"hashes": [bytes(value) for value in hashes], "account_id": account_id, "tenant": tenant}
    )
    return {bytes(row["sha256"]): (row["media_type"], bytes(row["content"])) for row in rows}


_PUT: Final = f"""
WITH {PRODUCERS_ACCOUNT}
INSERT INTO {SCHEMA}.input (account_id, tenant, sha256, content, media_type, size_bytes)
SELECT id, :tenant, CAST(:sha256 AS bytea), CAST(:content AS bytea), :media_type, octet_length(CAST(:content AS bytea))
FROM account
ON CONFLICT DO NOTHING
"""

_TAKE: Final = f"""
SELECT sha256, media_type, content FROM {SCHEMA}.input
WHERE account_id = :account_id AND tenant = :tenant AND sha256 = ANY (CAST(:hashes AS bytea[]))
"""
