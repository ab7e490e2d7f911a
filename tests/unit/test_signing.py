"""Signatures that receivers' own library accepts, and secrets that only the key opens."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from runware_jobs.core.signing import SecretKeyWrong, Vault, new_secret, sign
from runware_jobs.errors import RunwareJobsError

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
bodies = st.text(st.characters(codec="utf-8")).map(str.encode)
ids = st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True)
passphrases = st.text(st.characters(codec="utf-8", exclude_characters=","), min_size=1).filter(str.strip)


def _accepts(secret: str, body: bytes, headers: dict[str, str]) -> bool:
    try:
        Webhook(secret).verify(body, headers, json_parse=False)
    except WebhookVerificationError:
        return False
    return True


def test_published_example_of_the_standard_gets_its_published_signature():
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    at = datetime.fromtimestamp(1614265330, tz=UTC)

    headers = sign([secret], webhook_id="msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp=at, body=body)

    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(body=bodies, webhook_id=ids, count=st.integers(1, 3))
def test_receiver_with_any_of_the_secrets_accepts(body, webhook_id, count):
    secrets = [new_secret() for _ in range(count)]
    headers = sign(secrets, webhook_id=webhook_id, timestamp=datetime.now(UTC), body=body)

    assert all(_accepts(secret, body, headers) for secret in secrets)
    assert not _accepts(new_secret(), body, headers)


@given(body=bodies, other=bodies, webhook_id=ids, other_id=ids)
def test_tampered_message_is_refused(body, other, webhook_id, other_id):
    headers = sign([SECRET], webhook_id=webhook_id, timestamp=datetime.now(UTC), body=body)
    later = str(int(headers["webhook-timestamp"]) + 1)

    assert _accepts(SECRET, other, headers) == (other == body)
    assert _accepts(SECRET, body, headers | {"webhook-id": other_id}) == (other_id == webhook_id)
    assert not _accepts(SECRET, body, headers | {"webhook-timestamp": later})


@pytest.mark.parametrize("minutes", [-6, 6])
def test_old_or_future_message_is_refused(minutes):
    at = datetime.now(UTC) + timedelta(minutes=minutes)
    headers = sign([SECRET], webhook_id="evt_1", timestamp=at, body=b"{}")

    assert not _accepts(SECRET, b"{}", headers)


@given(hours=st.integers(-12, 14))
def test_zone_of_the_time_does_not_change_the_signature(hours):
    at = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
    local = at.astimezone(timezone(timedelta(hours=hours)))

    assert sign([SECRET], webhook_id="evt_1", timestamp=at, body=b"{}") == sign(
        [SECRET], webhook_id="evt_1", timestamp=local, body=b"{}"
    )


@pytest.mark.parametrize(
    ("label", "change"),
    [
        ("no secret", {"secrets": []}),
        ("secret without prefix", {"secrets": [SECRET.removeprefix("whsec_")]}),
        ("secret that is no base64", {"secrets": ["whsec_" + "!" * 44]}),
        ("secret of no letters", {"secrets": ["whsec_" + "\u00fc" * 44]}),
        ("short secret", {"secrets": ["whsec_" + base64.b64encode(b"x" * 23).decode()]}),
        ("long secret", {"secrets": ["whsec_" + base64.b64encode(b"x" * 65).decode()]}),
        ("empty id", {"webhook_id": ""}),
        ("id with a dot", {"webhook_id": "evt.1"}),
        ("id with a space", {"webhook_id": "evt 1"}),
        ("id with a line end", {"webhook_id": "evt\n1"}),
        ("id beyond ASCII", {"webhook_id": "\u00e9vt"}),
        ("naive time", {"timestamp": datetime(2026, 11, 21)}),  # noqa: DTZ001  the case
        ("body that is not UTF-8", {"body": b"\xff"}),
    ],
)
def test_what_cannot_be_signed_well_is_refused(label, change):
    arguments = {"secrets": [SECRET], "webhook_id": "evt_1", "timestamp": datetime.now(UTC), "body": b"{}"}
    arguments |= change

    with pytest.raises(ValueError) as refused:
        sign(arguments.pop("secrets"), **arguments)

    assert all(secret not in str(refused.value) for secret in change.get("secrets", []))


def test_each_new_secret_is_another_one_of_32_bytes():
    first, second = new_secret(), new_secret()

    assert first != second
    assert first.startswith("whsec_")
    assert len(base64.b64decode(first.removeprefix("whsec_"), validate=True)) == 32


@given(passphrase=passphrases, secret=st.text(st.characters(codec="utf-8")))
def test_vault_gives_back_what_it_took(passphrase, secret):
    token = Vault(passphrase).encrypt(secret)

    assert secret == Vault(passphrase).decrypt(token)
    assert token != Vault(passphrase).encrypt(secret)


@given(old=passphrases, new=passphrases)
def test_rotated_key_still_opens_what_the_old_one_closed(old, new):
    stored = Vault(old).encrypt(SECRET)
    vault = Vault(f"{new}, {old}")

    assert vault.decrypt(stored) == SECRET
    assert Vault(new).decrypt(vault.encrypt(SECRET)) == SECRET


def test_another_key_is_refused_by_name_and_says_no_secret():
    stored = Vault("the old one").encrypt(SECRET)

    with pytest.raises(SecretKeyWrong) as wrong:
        Vault("another").decrypt(stored)

    assert wrong.value.parameter == "RUNWARE_JOBS_SECRET_KEY"
    assert "after a comma" in str(wrong.value)
    assert not {"another", "the old one", SECRET} & set(str(wrong.value).split())
    assert isinstance(wrong.value, RunwareJobsError)


@given(place=st.integers(0), bit=st.integers(0, 7))
def test_damaged_token_is_refused(place, bit):
    vault = Vault("key")
    raw = bytearray(base64.urlsafe_b64decode(vault.encrypt(SECRET)))
    raw[place % len(raw)] ^= 1 << bit

    with pytest.raises(SecretKeyWrong):
        vault.decrypt(base64.urlsafe_b64encode(raw))


@pytest.mark.parametrize("secret_key", ["", " ", ",", "one,", ",two", "one,,two"])
def test_empty_key_is_refused(secret_key):
    with pytest.raises(SecretKeyWrong):
        Vault(secret_key)


def test_passphrase_is_not_the_key_itself():
    """A Fernet key given as passphrase is derived from like any other text."""
    key = Fernet.generate_key()

    with pytest.raises(SecretKeyWrong):
        Vault("other").decrypt(Fernet(key).encrypt(b"x"))
    assert Vault(key.decode()).decrypt(Vault(key.decode()).encrypt("x")) == "x"
