"""The account's standing: only what a question confirms pauses, and a pause ends when its reason is gone."""

from __future__ import annotations

from decimal import Decimal

import pytest

from runware_jobs.steps.accounts import look_after_account
from runware_jobs.steps.poll import poll
from runware_jobs.steps.submit import submit
from runware_jobs.store import pauses
from tests.support.queued import enqueue_jobs
from tests.support.rows import change_rows, read_rows

MUTE = {"taskType": "accountManagement", "on": "any"}
NO_CREDITS = {
    "on": "submit",
    "taskType": "imageInference",
    "action": {"kind": "refuse", "code": "insufficientCredits"},
}
UNSCOPED_403 = {
    "on": "submit",
    "taskType": "imageInference",
    "action": {"kind": "status", "status": 403, "body": "request", "code": "forbidden"},
}
"""What the platform says to any submit of ours."""


def may_not_read_accounts(status=403, code="forbidden"):
    """A key that works, but not for accountManagement."""
    action = {"kind": "status", "status": status, "body": "task", "code": code}
    return {"on": "any", "taskType": "accountManagement", "action": action}


async def added(engine, count=1, **options):
    async with engine.begin() as connection:
        return await enqueue_jobs(connection, count, **options)


async def account(engine):
    async with engine.connect() as connection:
        [row] = await read_rows(connection, "SELECT state, pause_kind, pause_reason FROM account")
    return row["state"], row["pause_kind"]


async def jobs(engine):
    async with engine.connect() as connection:
        return await read_rows(
            connection,
            """SELECT job.state, job.attempts, attempt.state AS attempt FROM job
               LEFT JOIN attempt ON attempt.job_id = job.id ORDER BY job.id""",
        )


async def make_due(engine):
    """Let whatever waits be due: jobs that were handed back, and the question of a paused account."""
    async with engine.begin() as connection:
        await change_rows(connection, "UPDATE job SET run_at = now() WHERE state = 'queued'")
        await change_rows(connection, "UPDATE account SET probe_at = now() WHERE probe_at IS NOT NULL")


@pytest.mark.parametrize("transport", ["rest", "websocket"])
async def test_rejected_key_pauses_and_keeps_every_job_and_attempt(engine, emulator, workers, transport):
    await added(engine, 3, max_attempts=1)
    async with workers(api_key="bad-key", transport=transport) as context:
        await submit(context)
        held = context.doubts.holds_for_s
        await look_after_account(context)
        stands = await account(engine)
        await make_due(engine)
        claimed = (await submit(context)).claimed
        resumed = await look_after_account(context)

    assert held > 0
    assert (stands, claimed, resumed) == (("paused", "auth"), 0, False)
    assert await jobs(engine) == [{"state": "queued", "attempts": 1, "attempt": "prepared"}] * 3
    assert emulator.ledger()["totals"]["accepted"] == 0


async def test_missing_credits_pause_until_there_is_money(engine, emulator, workers):
    await added(engine, 2, max_attempts=1)
    emulator.configure(balance_usd=0)
    async with workers() as context:
        await submit(context)
        await look_after_account(context)
        paused = await account(engine)
        await make_due(engine)
        still = await look_after_account(context)
        emulator.configure(balance_usd=5)
        not_asked = await look_after_account(context)
        await make_due(engine)
        resumed = await look_after_account(context)
        after = await account(engine)
        done = await submit(context)

    assert paused == ("paused", "credits")
    assert (still, not_asked, resumed) == (False, False, True)
    assert after == ("open", None)
    assert len(done.watches) == 2
    assert {job["attempts"] for job in await jobs(engine)} == {1}


@pytest.mark.parametrize(
    ("label", "rule"),
    [
        (
            "a firewall's 403",
            {**UNSCOPED_403, "action": {"kind": "status", "status": 403, "body": "request"}},
        ),
        ("one job that costs more than is left", NO_CREDITS),
        ("401 once", {"on": "auth", "count": 1, "action": {"kind": "reject_key"}}),
    ],
)
async def test_what_a_question_does_not_confirm_pauses_nothing_and_is_tried_again(
    engine, emulator, workers, label, rule
):
    await added(engine, 2, max_attempts=1)
    emulator.inject(rule)
    async with workers() as context:
        await submit(context)
        noted = context.doubts.holds_for_s
        await look_after_account(context)
        stands, holds = await account(engine), context.doubts.holds_for_s
        emulator.reset()
        await make_due(engine)
        done = await submit(context)

    assert noted > 0, label
    assert stands == ("open", None)
    assert 0 < holds <= 1
    assert len(done.watches) == 2
    assert context.doubts.holds_for_s == 0
    assert {job["attempts"] for job in await jobs(engine)} == {1}


async def test_sending_waits_longer_each_time_and_goes_on_at_once_when_something_is_taken(
    engine, emulator, workers
):
    await added(engine)
    emulator.inject(NO_CREDITS)
    holds = []
    async with workers() as context:
        now = 0.0
        context.doubts.clock = lambda: now
        for _ in range(8):
            await make_due(engine)
            await submit(context)
            await look_after_account(context)
            holds.append(context.doubts.holds_for_s)
            now += holds[-1]
        emulator.reset()
        await make_due(engine)
        await submit(context)

    assert holds == [1, 2, 4, 8, 16, 30, 30, 30]
    assert context.doubts.holds_for_s == 0


@pytest.mark.parametrize(
    ("status", "code"), [(403, "forbidden"), (400, "invalidOperation"), (404, "notFound")]
)
async def test_key_that_may_not_read_accounts_pauses_for_credits_and_resumes_by_a_try(
    engine, emulator, workers, status, code
):
    await added(engine, 2, max_attempts=1)
    emulator.inject(may_not_read_accounts(status, code), NO_CREDITS)
    async with workers() as context:
        await submit(context)
        await look_after_account(context)
        paused = await account(engine)
        await make_due(engine)
        tried = await look_after_account(context)
        await make_due(engine)
        await submit(context)
        await look_after_account(context)
        again = await account(engine)

    assert (paused, tried, again) == (("paused", "credits"), True, ("paused", "credits"))
    assert {job["attempts"] for job in await jobs(engine)} == {1}


async def test_key_that_may_not_read_accounts_does_not_pause_while_neighbours_are_taken(
    engine, emulator, workers
):
    await added(engine, 3)
    await added(engine, 1, params={"positivePrompt": "something dear"})
    emulator.inject(may_not_read_accounts(), NO_CREDITS | {"prompt": "something dear"})
    async with workers() as context:
        done = await submit(context)
        await look_after_account(context)

    assert len(done.watches) == 3
    assert await account(engine) == ("open", None)
    assert context.doubts.holds_for_s == 0


async def test_key_that_may_not_read_accounts_but_may_poll_is_not_called_rejected(engine, emulator, workers):
    await added(engine)
    emulator.inject(may_not_read_accounts(), UNSCOPED_403)
    async with workers() as context:
        await submit(context)
        await look_after_account(context)

    assert await account(engine) == ("open", None)


async def test_key_that_may_do_nothing_at_all_pauses(engine, emulator, workers):
    await added(engine)
    emulator.inject(
        {"on": "any", "action": {"kind": "status", "status": 403, "body": "request", "code": "forbidden"}}
    )
    async with workers() as context:
        await submit(context)
        await look_after_account(context)

    assert await account(engine) == ("paused", "auth")


async def test_suspended_organisation_pauses_although_polls_are_answered(engine, emulator, workers):
    await added(engine)
    emulator.inject(
        may_not_read_accounts(403, "organizationSuspended"),
        UNSCOPED_403
        | {"action": {"kind": "status", "status": 403, "body": "request", "code": "organizationSuspended"}},
    )
    async with workers() as context:
        await submit(context)
        await look_after_account(context)

    assert await account(engine) == ("paused", "auth")


async def test_platform_that_does_not_answer_the_question_confirms_nothing(engine, emulator, workers):
    await added(engine)
    emulator.inject(may_not_read_accounts(500, "internalServerError"), NO_CREDITS)
    async with workers() as context:
        await submit(context)
        await look_after_account(context)

    assert await account(engine) == ("open", None)


async def test_403_of_one_task_ends_that_job_and_no_other(engine, emulator, workers):
    await added(engine, 2)
    await added(engine, 1, params={"positivePrompt": "a private model"})
    emulator.inject(
        {
            "on": "submit",
            "prompt": "a private model",
            "action": {"kind": "refuse", "code": "permissionDenied"},
        }
    )
    async with workers() as context:
        await submit(context)
        asked = emulator.ledger()["requests"]["rest"]
        await look_after_account(context)

    assert context.doubts.holds_for_s == 0
    assert emulator.ledger()["requests"]["rest"] == asked
    assert await account(engine) == ("open", None)
    assert sorted(job["state"] for job in await jobs(engine)) == ["failed", "running", "running"]


@pytest.mark.parametrize("code", ["providerInsufficientCredits", "thirdPartyInsufficientCredits"])
async def test_missing_credits_of_a_provider_are_not_ours(engine, emulator, workers, code):
    await added(engine)
    emulator.inject({"on": "submit", "action": {"kind": "refuse", "code": code}})
    async with workers() as context:
        await submit(context)
        await look_after_account(context)

    assert context.doubts.holds_for_s == 0
    assert await account(engine) == ("open", None)


async def test_polls_notice_a_rejected_key_and_go_on_when_it_is_taken_again(engine, emulator, workers):
    await added(engine, 2)
    emulator.configure(latencies={"image": 5000})
    async with workers() as context:
        watches = (await submit(context)).watches
        emulator.inject({"on": "auth", "action": {"kind": "reject_key"}})
        left = await poll(context, watches)
        await look_after_account(context)
        paused = await account(engine)
        emulator.reset()  # forgets the tasks, too: what counts is that the key is taken again
        await make_due(engine)
        resumed = await look_after_account(context)

    assert len(left) == 2
    assert (paused, resumed) == (("paused", "auth"), True)


async def test_pause_by_hand_that_comes_while_we_ask_stays_the_hands(engine, emulator, workers):
    await added(engine)
    async with workers(api_key="bad-key") as context:
        await submit(context)
        async with engine.begin() as connection:
            await pauses.pause_by_hand(connection, context.owner.account_id, reason="night")
        await look_after_account(context)
        await make_due(engine)
        assert not await look_after_account(context)

    assert await account(engine) == ("paused", "hand")


async def test_nothing_is_resent_while_the_account_is_paused(engine, emulator, workers):
    await added(engine)
    emulator.inject({"on": "submit", "count": 1, "action": {"kind": "reset"}})
    async with workers() as context:
        watches = list((await submit(context)).watches)
        async with engine.begin() as connection:
            await pauses.pause_by_hand(connection, context.owner.account_id, reason="stop")
        for _ in range(5):
            watches = await poll(context, watches)
        while_paused = emulator.ledger()["totals"]["accepted"]
        async with engine.connect() as connection:
            [attempt] = await read_rows(connection, "SELECT state, resent_at FROM attempt")
        async with engine.begin() as connection:
            await pauses.resume_by_hand(connection, context.owner.account_id)
        for _ in range(5):
            watches = await poll(context, watches)

    assert while_paused == 0
    assert attempt == {"state": "unclear", "resent_at": None}
    ledger = emulator.ledger()
    assert ledger["totals"]["accepted"] == 1
    assert Decimal(ledger["totals"]["billed_usd"]) >= 0
