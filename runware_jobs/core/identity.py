"""Names that are derived, so that a restored backup derives the same ones again.

A random task UUID is lost with the commit that held it; a derived one comes out
the same after a failover, and `conflictTaskUUID` then always means that our own
earlier send arrived (DESIGN 4, Identity).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_TASK = b"runware-jobs/task/1"
_ACCOUNT = b"runware-jobs/account/1"
_KEYED_JOBS = UUID("6f1d5e0c-2f5b-4f0a-9d2c-0b7a5e8c4d31")


def task_uuid(secret: bytes, job_id: UUID, run: int, number: int) -> UUID:
    """Derive the v4-shaped task UUID of one attempt; the same arguments give the same UUID."""
    message = b"|".join((_TASK, job_id.bytes, b"%d" % run, b"%d" % number))
    return UUID(bytes=hmac.digest(secret, message, "sha256")[:16], version=4)


def organisation_of_key(api_key: str, base_url: str) -> str:
    """Name the organisation of a key that may not read its account: a keyed hash.

    The key cannot be found from it; two keys of one organisation get two names,
    which is the price of not knowing (DESIGN 4, Accounts).
    """
    digest = hmac.digest(api_key.encode(), _ACCOUNT + base_url.encode(), "sha256")
    return f"key-{digest.hex()[:24]}"


def request_hash(kind: str, params: Mapping[str, Any]) -> bytes:
    """Hash what a producer asked for, so that a replay can be told from another request."""
    body = orjson.dumps([kind, params], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(body).digest()


def job_id_of_key(tenant: str, key: str, request: bytes) -> UUID:
    """Derive the id of a job that was asked for under a key of its own (RFC 9562, v5).

    A database restored from a copy does not know the jobs that came after it. Replayed
    under their keys they get the ids that they had, so their task UUIDs too, and what was
    paid for is found instead of bought again. `request` is the request's hash: another
    request under the same key must never meet the first one's results.
    """
    return uuid5(_KEYED_JOBS, orjson.dumps([tenant, key, request.hex()]).decode())


def new_job_id() -> UUID:
    """Make a job id: random, with the time in front, so that newer ids sort later (RFC 9562, v7).

    The time is as fine as a quarter of a microsecond (6.2, method 3), so that the ids
    of one bulk sort in the order in which they were made.
    """
    milliseconds, rest_ns = divmod(time.time_ns(), 1_000_000)
    fraction = (rest_ns << 12) // 1_000_000
    number = (milliseconds << 80) | (0x7 << 76) | (fraction << 64) | int.from_bytes(os.urandom(8))
    number = (number & ~(0x3 << 62)) | (0x2 << 62)
    return UUID(int=number)
