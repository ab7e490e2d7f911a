"""Endpoints as they stand: who is told what, failing for days, disabled and enabled, secrets that rotate."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest

from runware_jobs.core.endpoints import GIVEN_UP_AFTER_S, OVERLAP_S, read_filter
from runware_jobs.core.events import EventType
from runware_jobs.core.signing import Vault
from runware_jobs.errors import InvalidJob, NotPossible
from runware_jobs.store import endpoints, pauses
from runware_jobs.store.pruning import prune_jobs
from runware_jobs.webhook_endpoints import WebhookEndpoints
from tests.steps.test_deliver import canceled
from tests.support.locks import pid_of, until_waiting
from tests.support.queued import register_worker
from tests.support.rows import change_rows, read_rows

URL = "https://hooks.example/a"
VAULT = Vault("a key")


@pytest.fixture
def service(engine):
    return WebhookEndpoints(engine, VAULT, allow_private=False)


async def add(engine, *events, tenant="default", url=URL):
    async with engine.begin() as connection:
        return await endpoints.add_endpoint(
            connection, tenant=tenant, url=url, events=read_filter(events), secret=VAULT.encrypt("whsec_old")
        )


async def rows(engine, statement, **values):
    async with engine.connect() as connection:
        return await read_rows(connection, statement, **values)


async def change(engine, statement, **values):
    async with engine.begin() as connection:
        await change_rows(connection, statement, **values)


async def standing(engine, endpoint_id):
    [row] = await rows(engine, "SELECT * FROM endpoint WHERE id = :id", id=endpoint_id)
    return row


async def outbox_of(engine, endpoint_id):
    return await rows(
        engine,
        "SELECT outbox.*, event.type, event.tenant, event.data FROM outbox JOIN event ON event.id = event_id"
        " WHERE endpoint_id = :id ORDER BY outbox.id",
        id=endpoint_id,
    )


async def fail(engine, *endpoint_ids):
    async with engine.begin() as connection:
        return await endpoints.note_failure(connection, endpoint_ids)


async def fail_telling(engine, endpoint_id, pids):
    async with engine.begin() as connection:
        pids.put_nowait(await pid_of(connection))
        return await endpoints.note_failure(connection, [endpoint_id])


async def succeed(engine, *endpoint_ids):
    async with engine.begin() as connection:
        await endpoints.note_success(connection, endpoint_ids)


async def failing_for(engine, seconds, *endpoint_ids):
    await change(
        engine,
        "UPDATE endpoint SET failing_since = now() - make_interval(secs => :s) WHERE id = ANY (:ids)",
        s=seconds,
        ids=list(endpoint_ids),
    )


async def test_an_event_leaves_once_for_each_endpoint_that_was_there(engine):
    first, second = await add(engine), await add(engine, "job.canceled")
    await canceled(engine)
    late = await add(engine)
    await canceled(engine)

    told = [[row["type"] for row in await outbox_of(engine, one)] for one in (first, second, late)]
    assert told == [["job.canceled"] * 2, ["job.canceled"] * 2, ["job.canceled"]]


async def test_account_events_reach_whoever_asks_for_them_each_as_an_event_of_his_tenant(engine):
    ours = await add(engine, "account.*")
    theirs = await add(engine, "account.paused", tenant="other")
    default = await add(engine)
    async with engine.begin() as connection:
        owner = await register_worker(connection)
        await pauses.pause_by_hand(connection, owner.account_id, reason="the prices of acme")

    told = {one: await outbox_of(engine, one) for one in (ours, theirs, default)}
    assert [[row["type"] for row in told[one]] for one in told] == [
        ["account.paused"],
        ["account.paused"],
        [],
    ]
    assert [told[ours][0]["tenant"], told[theirs][0]["tenant"]] == ["default", "other"]
    assert told[ours][0]["event_id"] != told[theirs][0]["event_id"]
    assert "acme" not in str([told[one][0]["data"] for one in (ours, theirs)])


async def test_no_endpoint_belongs_to_the_tenant_that_stands_for_nobody(service):
    with pytest.raises(InvalidJob) as refused:
        await service.add(URL, tenant="*", events=["account.paused"])

    assert refused.value.parameter == "tenant"


async def test_the_first_failure_is_remembered_until_a_success(engine):
    endpoint_id = await add(engine)

    assert await fail(engine, endpoint_id) == []
    first = (await standing(engine, endpoint_id))["failing_since"]
    await fail(engine, endpoint_id)
    assert (await standing(engine, endpoint_id))["failing_since"] == first is not None

    await succeed(engine, endpoint_id)
    assert (await standing(engine, endpoint_id))["failing_since"] is None


async def test_a_success_of_one_that_does_not_fail_writes_and_locks_nothing(engine):
    endpoint_id = await add(engine)
    [before] = await rows(engine, "SELECT xmin::text FROM endpoint")
    async with engine.begin() as other:
        await read_rows(other, "SELECT * FROM endpoint FOR UPDATE")
        async with asyncio.timeout(10):
            await succeed(engine, endpoint_id)

    assert [before] == await rows(engine, "SELECT xmin::text FROM endpoint")


async def test_one_that_has_failed_for_days_is_disabled_and_the_others_are_told(engine):
    endpoint_id = await add(engine, url="https://old.example/hooks/s3cr3t")
    other, deaf = await add(engine), await add(engine, "job.failed")
    strangers = await add(engine, tenant="other")
    await failing_for(engine, GIVEN_UP_AFTER_S + 1, endpoint_id)

    assert await fail(engine, endpoint_id, other) == [endpoint_id]
    row = await standing(engine, endpoint_id)
    assert (row["is_enabled"], row["disabled_reason"]) == (False, "failing")
    told = await outbox_of(engine, other)
    assert [(one["type"], one["tenant"]) for one in told] == [("endpoint.disabled", "default")]
    assert {name: told[0]["data"][name] for name in ("endpoint_id", "host", "reason")} == {
        "endpoint_id": str(endpoint_id),
        "host": "old.example",
        "reason": "failing",
    }
    assert "s3cr3t" not in str(told)
    assert [await outbox_of(engine, one) for one in (endpoint_id, deaf, strangers)] == [[], [], []]
    assert await fail(engine, endpoint_id) == []
    assert len(await rows(engine, "SELECT id FROM event WHERE type = 'endpoint.disabled'")) == 1


@pytest.mark.parametrize(
    ("label", "seconds", "succeeds"),
    [
        ("not long enough", GIVEN_UP_AFTER_S - 60, False),
        ("with a success between", GIVEN_UP_AFTER_S + 60, True),
    ],
)
async def test_one_is_not_disabled(engine, label, seconds, succeeds):
    endpoint_id = await add(engine)
    await failing_for(engine, seconds, endpoint_id)
    if succeeds:
        await succeed(engine, endpoint_id)

    assert await fail(engine, endpoint_id) == [], label
    assert (await standing(engine, endpoint_id))["is_enabled"], label


async def test_a_success_that_comes_between_the_look_and_the_verdict_counts(engine):
    endpoint_id = await add(engine)
    await failing_for(engine, GIVEN_UP_AFTER_S + 1, endpoint_id)
    async with engine.begin() as connection:
        await endpoints.note_success(connection, [endpoint_id])
        failing = asyncio.create_task(fail_telling(engine, endpoint_id, pids := asyncio.Queue()))
        await until_waiting(engine, await pids.get())

    assert await failing == []
    assert (await standing(engine, endpoint_id))["is_enabled"]


async def test_two_that_note_the_same_failure_disable_and_tell_once(engine):
    endpoint_id, other = await add(engine), await add(engine)
    await failing_for(engine, GIVEN_UP_AFTER_S + 1, endpoint_id)

    disabled = await asyncio.gather(*(fail(engine, endpoint_id) for _ in range(4)))

    assert sorted(disabled) == [[], [], [], [endpoint_id]]
    assert len(await outbox_of(engine, other)) == 1


async def test_of_two_that_fail_together_neither_is_told_of_the_other(engine):
    both = [await add(engine), await add(engine)]
    await failing_for(engine, GIVEN_UP_AFTER_S + 1, *both)

    assert sorted(await fail(engine, *both)) == sorted(both)
    assert [await outbox_of(engine, one) for one in both] == [[], []]


async def test_nothing_is_noted_of_a_default_endpoint_or_an_unknown_one(engine):
    async with engine.begin() as connection:
        await endpoints.ensure_default_endpoint(connection, "default", b"x")
    [default] = await rows(engine, "SELECT id FROM endpoint")
    await failing_for(engine, GIVEN_UP_AFTER_S + 1, default["id"])

    assert await fail(engine, default["id"], uuid4()) == []
    assert (await standing(engine, default["id"]))["is_enabled"]
    async with engine.begin() as connection:
        assert not await endpoints.disable_endpoint(connection, default["id"], reason="410 Gone")


async def test_one_that_is_gone_is_disabled_and_the_others_are_told_once(engine):
    endpoint_id, other = await add(engine), await add(engine)
    async with engine.begin() as connection:
        did = [await endpoints.disable_endpoint(connection, endpoint_id, reason="410 Gone") for _ in "ab"]

    assert did == [True, False]
    assert [one["data"]["reason"] for one in await outbox_of(engine, other)] == ["410 Gone"]


async def test_an_event_of_a_transaction_that_was_rolled_back_is_never_told(engine):
    endpoint_id, other = await add(engine), await add(engine)
    async with engine.connect() as connection:
        await endpoints.disable_endpoint(connection, endpoint_id, reason="410 Gone")
        await connection.rollback()

    assert await outbox_of(engine, other) == []
    assert (await standing(engine, endpoint_id))["is_enabled"]


async def test_what_stayed_leaves_at_once_and_in_order_when_a_person_enables_it(engine, service):
    endpoint_id = await add(engine)
    for _ in range(3):
        await canceled(engine)
    await change(engine, "UPDATE outbox SET attempts = 8, due_at = now() + interval '1 day' * id")
    await change(
        engine,
        "INSERT INTO receiver (id, rest_s, rests_until) SELECT DISTINCT receiver, 9, now() + interval '1 h'"
        " FROM outbox",
    )
    async with engine.begin() as connection:
        await endpoints.disable_endpoint(connection, endpoint_id, reason="410 Gone")
    await canceled(engine)  # while it is disabled: nothing is left for it
    stayed = await outbox_of(engine, endpoint_id)
    view = await service.change(endpoint_id, tenant=None, is_enabled=True)
    due = await rows(engine, "SELECT id, attempts FROM outbox WHERE due_at <= now() ORDER BY due_at, id")

    assert (view["is_enabled"], view["disabled_reason"], view["failing_since"]) == (True, None, None)
    assert due == [{"id": row["id"], "attempts": 0} for row in stayed]
    assert len(due) == 3
    assert await rows(engine, "SELECT id FROM receiver") == []


async def test_what_stays_for_a_disabled_endpoint_keeps_no_job_from_being_pruned(engine, service):
    endpoint_id = await add(engine)
    await canceled(engine)
    await change(engine, "UPDATE job SET finished_at = now() - interval '40 days'")

    async def prune():
        async with engine.begin() as connection:
            return (await prune_jobs(connection, older_than_s=30 * 86_400, limit=9)).jobs

    while_it_leaves = await prune()
    await service.change(endpoint_id, tenant=None, is_enabled=False)

    assert (while_it_leaves, await prune()) == (0, 1)
    assert await rows(engine, "SELECT id FROM outbox") == []


async def test_rotations_at_once_both_sign(engine, service):
    endpoint_id = await add(engine)

    made = await asyncio.gather(*(service.rotate(endpoint_id, tenant=None) for _ in range(2)))

    stored = [VAULT.decrypt(bytes(token)) for token in (await standing(engine, endpoint_id))["secrets"]]
    assert sorted(stored) == sorted(view["secret"] for view in made)


async def signing(engine, endpoint_id):
    """Read which secrets sign now."""
    async with engine.connect() as connection:
        row = await endpoints.read_endpoint(connection, endpoint_id, tenant=None)
    return [VAULT.decrypt(bytes(secret)) for secret in row["signing"]]


async def test_the_old_secret_signs_for_a_day_and_no_longer(engine, service):
    endpoint_id = await add(engine)
    new = (await service.rotate(endpoint_id, tenant=None))["secret"]

    assert await signing(engine, endpoint_id) == [new, "whsec_old"]
    assert (await service.get(endpoint_id, tenant=None))["has_old_secret"]

    await change(
        engine, "UPDATE endpoint SET rotated_at = now() - make_interval(secs => :s)", s=OVERLAP_S + 1
    )
    assert await signing(engine, endpoint_id) == [new]
    view = await service.get(endpoint_id, tenant=None)
    assert (view["has_old_secret"], view["old_secret_ends_at"]) == (False, None)


async def test_a_secret_that_leaked_signs_no_more_at_once(engine, service):
    endpoint_id = await add(engine)
    new = (await service.rotate(endpoint_id, tenant=None, keeps_old_secret=False))["secret"]

    assert await signing(engine, endpoint_id) == [new]


async def test_rotating_is_the_remedy_when_the_key_of_the_old_secret_is_gone(engine):
    endpoint_id = await add(engine)
    service = WebhookEndpoints(engine, Vault("another key"), allow_private=False)

    view = await service.rotate(endpoint_id, tenant=None)

    assert not view["has_old_secret"]
    [token] = (await standing(engine, endpoint_id))["secrets"]
    assert Vault("another key").decrypt(bytes(token)) == view["secret"]


async def test_views_and_events_hold_no_secret(engine, service):
    made = await service.add(URL, tenant="default", events=[*EventType])
    endpoint_id = UUID(made["id"])
    rotated = await service.rotate(endpoint_id, tenant=None)
    await service.test(endpoint_id, tenant=None)
    everything = str(
        [await service.all_of(tenant=None), await service.get(endpoint_id, tenant=None)]
        + await rows(engine, "SELECT * FROM event")
    )

    assert made["secret"] not in everything
    assert rotated["secret"] not in everything


async def test_a_test_event_goes_to_the_one_endpoint_whatever_its_filter(engine, service):
    endpoint_id, other = await add(engine, "job.failed"), await add(engine, *EventType)

    event_id = await service.test(endpoint_id, tenant="default")

    [told] = await outbox_of(engine, endpoint_id)
    assert (str(told["event_id"]), told["type"], told["url"]) == (event_id, "endpoint.test", URL)
    assert await outbox_of(engine, other) == []


async def test_a_disabled_endpoint_is_sent_no_test(engine, service):
    endpoint_id = await add(engine)
    await service.change(endpoint_id, tenant=None, is_enabled=False)

    with pytest.raises(NotPossible, match="enable it first"):
        await service.test(endpoint_id, tenant=None)
