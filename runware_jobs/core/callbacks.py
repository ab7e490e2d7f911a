"""The addresses at which the platform may call us about one task: derived, and not to be guessed.

Whoever knows one can do nothing but have its task asked about. All the same they stay
between the platform and us: what is stored and shown goes through `without_tokens`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from typing import Final
from uuid import UUID

PATH: Final = "/v1/callbacks/runware/"

_TOKEN: Final = re.compile(f"({re.escape(PATH)})[A-Za-z0-9_%=-]+")
_CALLBACK: Final = b"runware-jobs/callback/1"
_MAC_BYTES: Final = 16


def callback_url(base_url: str, secret: bytes, task_uuid: UUID) -> str:
    """Make the URL that the platform is to call when the task has news."""
    token = base64.urlsafe_b64encode(task_uuid.bytes + _mac(secret, task_uuid.bytes)).rstrip(b"=").decode()
    return f"{base_url.rstrip('/')}{PATH}{token}"


def task_of_token(secret: bytes, token: str) -> UUID | None:
    """Say which task a token was made for; None when it was not made with `secret`."""
    try:
        content = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    task, mac = content[:16], content[16:]
    if len(task) != 16 or not hmac.compare_digest(mac, _mac(secret, task)):  # noqa: PLR2004  a UUID's bytes
        return None
    return UUID(bytes=task)


def without_tokens(text: str) -> str:
    """Give a text of the platform's without the tokens of addresses that it quotes."""
    return _TOKEN.sub(r"\1...", text) if PATH in text else text


def _mac(secret: bytes, task: bytes) -> bytes:
    return hmac.digest(secret, _CALLBACK + task, "sha256")[:_MAC_BYTES]
