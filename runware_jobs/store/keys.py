"""The keys of our own HTTP API: kept as hashes, so that a stolen backup opens nothing.

A key is 256 random bits, so one round of SHA-256 is enough: there is no dictionary
to try. It is shown once, where it is made.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from .tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Collection
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection

KEY_PREFIX: Final = "rwj_"
"""In front of every key, so that scanners for leaked secrets, and people, know one when they see it."""

EVERY_TENANT: Final = "*"
"""The tenant of a key that sees and serves all of them."""

_KEY_BYTES: Final = 32


class Scope(StrEnum):
    """What a key allows; `admin` allows everything, within its tenant."""

    ENQUEUE = "enqueue"
    READ = "read"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key that is there and not revoked."""

    id: UUID
    tenant: str
    scopes: frozenset[Scope]


def hash_key(token: str) -> bytes:
    """Give what the database knows of a key."""
    return hashlib.sha256(token.encode()).digest()


async def create_key(
    connection: AsyncConnection, *, name: str, tenant: str, scopes: Collection[Scope]
) -> tuple[UUID, str]:
    """Make a key and give its id and its token: nobody can read the token again."""
    token = KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    row = await connection.execute(
        text(
            f"INSERT INTO {SCHEMA}.api_key (name, tenant, scopes, key_hash)"
            " VALUES (:name, :tenant, CAST(:scopes AS text[]), :key_hash) RETURNING id"
        ),
        {"name": name, "tenant": tenant, "scopes": sorted(scopes), "key_hash": hash_key(token)},
    )
    key_id: UUID = row.scalar_one()
    return key_id, token


async def find_key(connection: AsyncConnection, key_hash: bytes) -> KnownKey | None:
    """Find the key with this hash; None when there is none or it was revoked."""
    row = await connection.execute(
        text(
            f"SELECT id, tenant, scopes FROM {SCHEMA}.api_key WHERE key_hash = :key_hash AND revoked_at IS NULL"
        ),
        {"key_hash": key_hash},
    )
    found = row.one_or_none()
    return None if found is None else KnownKey(found.id, found.tenant, frozenset(map(Scope, found.scopes)))


async def has_keys(connection: AsyncConnection) -> bool:
    """Tell whether a key was ever made.

    Revoked ones count: revoking the last key must close the API, not open it.
    """
    row = await connection.execute(text(f"SELECT EXISTS (SELECT FROM {SCHEMA}.api_key)"))
    return bool(row.scalar_one())


async def list_keys(connection: AsyncConnection) -> list[dict[str, Any]]:
    """List the keys without their hashes, oldest first."""
    rows = await connection.execute(
        text(
            f"SELECT id, name, tenant, scopes, created_at, revoked_at FROM {SCHEMA}.api_key ORDER BY created_at"
        )
    )
    return [dict(row) for row in rows.mappings()]


async def revoke_key(connection: AsyncConnection, key_id: UUID) -> bool:
    """End a key at once and for ever; False when it is not there or was revoked before."""
    row = await connection.execute(
        text(
            f"UPDATE {SCHEMA}.api_key SET revoked_at = now() WHERE id = :id AND revoked_at IS NULL RETURNING id"
        ),
        {"id": key_id},
    )
    return row.first() is not None
