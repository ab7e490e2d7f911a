"""Signatures of webhooks, and the vault that keeps their secrets at rest.

Standard Webhooks, so that receivers check with a library of their language. While
a secret rotates a delivery carries one signature per secret, and a receiver that
knows either of them accepts it.

Stores nothing and sends nothing. A secret is shown once, where it is made; after
that only the vault's token of it is kept.
"""

from __future__ import annotations

import base64
import binascii
import secrets as randomness
from datetime import UTC
from math import floor
from typing import TYPE_CHECKING, Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from standardwebhooks.webhooks import Webhook

from runware_jobs.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_PREFIX: Final = "whsec_"
# Standard Webhooks asks for 24 to 64 bytes; 32 are as many as the HMAC can use well.
_SECRET_BYTES: Final = 32
_MIN_SECRET_BYTES: Final = 24
_MAX_SECRET_BYTES: Final = 64
_KEY_PURPOSE: Final = b"runware-jobs/webhook-secrets/1"


class SecretKeyWrong(SettingsError):
    """RUNWARE_JOBS_SECRET_KEY is missing, empty, or not the one that encrypted this."""


def new_secret() -> str:
    """Make a signing secret, `whsec_` and base64, from the system's randomness."""
    return _PREFIX + base64.b64encode(randomness.token_bytes(_SECRET_BYTES)).decode("ascii")


def sign(secrets: Sequence[str], *, webhook_id: str, timestamp: datetime, body: bytes) -> dict[str, str]:
    """Return the three headers that sign this body, one signature per secret, in their order.

    `timestamp` is the time of this sending, not of the event: receivers refuse what
    is older than five minutes, so each retry is signed again.

    Raises:
        ValueError: no secret, one of another form, a naive time, a body that is not
            UTF-8, or an id that is empty or holds a dot, a space or a control character.
    """
    if not secrets:
        raise ValueError("secrets is empty: a webhook is signed with at least one")
    if (
        not webhook_id.isascii()
        or not webhook_id.isprintable()
        or not webhook_id
        or set(webhook_id) & {".", " "}
    ):
        # The signed text is "id.timestamp.body": a dot would let two messages share it.
        raise ValueError("webhook_id must be printable ASCII without dots and spaces")
    if timestamp.tzinfo is None:
        raise ValueError("timestamp must carry a time zone")
    # In UTC before it is handed over: the library replaces the zone instead of converting.
    sent_at = timestamp.astimezone(UTC)
    text = body.decode()
    signatures = [Webhook(_key(secret)).sign(webhook_id, sent_at, text) for secret in secrets]
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(floor(sent_at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or not _MIN_SECRET_BYTES <= len(key) <= _MAX_SECRET_BYTES:
        raise ValueError(
            f"a signing secret is '{_PREFIX}' and the base64 of "
            f"{_MIN_SECRET_BYTES} to {_MAX_SECRET_BYTES} bytes"
        )
    return key


class Vault:
    """Encrypts signing secrets for the database with RUNWARE_JOBS_SECRET_KEY.

    `secret_key` is any passphrase, or several separated by commas while it rotates:
    the first encrypts, each decrypts. It is stretched to a key but not slowed down,
    so that a worker starts at once: use a long random one.

    Raises:
        SecretKeyWrong: the setting is empty or has an empty part.
    """

    def __init__(self, secret_key: str) -> None:
        passphrases = [part.strip() for part in secret_key.split(",")]
        if not all(passphrases):
            raise SecretKeyWrong(
                "RUNWARE_JOBS_SECRET_KEY is empty or has an empty part between commas; "
                "set a long random string, or several separated by commas",
                parameter="RUNWARE_JOBS_SECRET_KEY",
            )
        self._fernet = MultiFernet([Fernet(_derive(passphrase)) for passphrase in passphrases])

    def encrypt(self, secret: str) -> bytes:
        """Return the token to store; the same secret gives another token each time."""
        return self._fernet.encrypt(secret.encode())

    def decrypt(self, token: bytes) -> str:
        """Return the secret of a stored token.

        Raises:
            SecretKeyWrong: no key of the setting made this token, or it was damaged.
        """
        try:
            return self._fernet.decrypt(token).decode()
        except InvalidToken as error:
            raise SecretKeyWrong(
                "A webhook secret cannot be decrypted with RUNWARE_JOBS_SECRET_KEY; append the key that "
                "it was stored with to the setting, after a comma, or rotate the endpoint's secret",
                parameter="RUNWARE_JOBS_SECRET_KEY",
            ) from error


def _derive(passphrase: str) -> bytes:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=_KEY_PURPOSE).derive(passphrase.encode())
    return base64.urlsafe_b64encode(derived)
