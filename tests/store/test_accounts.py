"""Whose account it is: a key that may suddenly ask for its organisation is still the same key."""

from __future__ import annotations

import pytest

from runware_jobs.store import accounts
from tests.support.queued import BASE_URL, enqueue_jobs
from tests.support.rows import read_rows

pytestmark = pytest.mark.slow

LIMITS = accounts.Limits(max_in_flight=10, max_requests_per_s=10, daily_limit_usd=None)


async def confirm(connection, organisation, key_name="key-one"):
    return await accounts.confirm_account(
        connection, base_url=BASE_URL, organisation=organisation, key_name=key_name, limits=LIMITS
    )


async def current(connection):
    return await read_rows(connection, "SELECT id, organisation FROM account WHERE is_current")


async def test_key_that_is_given_the_permission_keeps_its_account_and_its_jobs(engine):
    async with engine.begin() as connection:
        mute = await confirm(connection, "key-one")
        await enqueue_jobs(connection)
        named = await confirm(connection, "acme")
        [job] = await read_rows(connection, "SELECT account_id FROM job")
        known = await current(connection)

    assert named == mute == job["account_id"]
    assert known == [{"id": mute, "organisation": "acme"}]


async def test_organisation_that_has_an_account_takes_over_no_other(engine):
    async with engine.begin() as connection:
        acme = await confirm(connection, "acme", key_name="key-two")
        mute = await confirm(connection, "key-one")
        named = await confirm(connection, "acme")
        known = await current(connection)
        left = await read_rows(connection, "SELECT id FROM account WHERE NOT is_current")

    assert named == acme
    assert known == [{"id": acme, "organisation": "acme"}]
    assert left == [{"id": mute}]


async def test_key_of_another_organisation_takes_nothing_over(engine):
    async with engine.begin() as connection:
        mute = await confirm(connection, "key-one")
        other = await confirm(connection, "bee", key_name="key-two")
        left = await read_rows(connection, "SELECT id, organisation FROM account WHERE NOT is_current")

    assert other != mute
    assert left == [{"id": mute, "organisation": "key-one"}]
