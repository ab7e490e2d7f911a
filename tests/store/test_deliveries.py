"""Webhooks in the outbox: fair between receivers, in order per job, marked only by who holds them."""

from __future__ import annotations

from uuid import uuid4

import pytest

from runware_jobs.core.events import EventType
from runware_jobs.steps.cancel import cancel
from runware_jobs.store import endpoints
from runware_jobs.store.deliveries import (
    FIRST_RECEIVER,
    Mark,
    Rest,
    Wanted,
    bury,
    claim_webhooks,
    end_rest,
    let_rest,
    release,
    settle_webhooks,
    walk_receivers,
)
from runware_jobs.store.moves import announce
from tests.support.delivering import claim, mark_delivered, put_off
from tests.support.queued import enqueue_jobs
from tests.support.rows import change_rows, read_rows

URL = "https://hooks.example/a"


async def add(connection, url=URL, *events):
    return await endpoints.add_endpoint(
        connection, tenant="default", url=url, events=events or ("job.canceled",), secret=b"secret"
    )


async def canceled(connection, count=1):
    """Leave one final event for each of so many jobs."""
    ids = await enqueue_jobs(connection, count)
    for job_id in ids:
        await cancel(connection, job_id, tenant=None)
    return ids


async def due_again(connection):
    await change_rows(connection, "UPDATE outbox SET due_at = now()")


async def outbox_of(connection):
    return await read_rows(connection, "SELECT * FROM outbox ORDER BY id")


async def test_ten_thousand_rows_of_one_receiver_hide_no_row_of_another(engine):
    async with engine.begin() as connection:
        busy, other = await add(connection), await add(connection, "https://other.example/b")
        [job_id] = await canceled(connection)
        await change_rows(
            connection,
            "INSERT INTO outbox (sink, event_id, event_created_at, endpoint_id, url, due_at)"
            " SELECT 'webhook', event.id, event.created_at, endpoint.id, endpoint.url, now() - interval '1 hour'"
            " FROM event CROSS JOIN endpoint CROSS JOIN generate_series(1, 10000)"
            f" WHERE endpoint.id = '{busy}' AND event.job_id = '{job_id}' AND type = 'job.canceled'",
        )
        rows = await claim(connection, room=8)

    per_endpoint = {one: sum(row.endpoint_id == one for row in rows) for one in (busy, other)}
    assert per_endpoint == {busy: 8, other: 1}


async def test_limit_is_shared_out_in_turns(engine):
    async with engine.begin() as connection:
        for number in range(4):
            await add(connection, f"https://{number}.example/")
        await canceled(connection, 5)
        rows = await claim(connection, room=5, limit=4)

    assert len({row.receiver for row in rows}) == 4


async def test_walk_goes_on_where_it_ended(engine):
    async with engine.begin() as connection:
        for number in range(5):
            await add(connection, f"https://{number}.example/")
        await canceled(connection)
        first = await walk_receivers(connection, after=FIRST_RECEIVER, limit=3)
        second = await walk_receivers(connection, after=first.next_after, limit=3)

    assert (len(first.found), len(second.found), second.next_after) == (3, 2, None)
    assert {one.host for one in first.found + second.found} == {f"https://{n}.example" for n in range(5)}


@pytest.mark.parametrize(
    ("label", "urls", "receivers"),
    [
        ("two paths of one host", ("https://a.example/1", "https://a.example/2"), 1),
        ("one host in two spellings", ("https://a.example/1", "https://A.example?2"), 1),
        ("two hosts", ("https://a.example/", "https://b.example/"), 2),
        ("two ports", ("https://a.example/", "https://a.example:8443/"), 2),
    ],
)
async def test_receiver_is_one_host_of_one_endpoint(engine, label, urls, receivers):
    async with engine.begin() as connection:
        await endpoints.ensure_default_endpoint(connection, "default", b"secret")
        for url in urls:
            [job_id] = await enqueue_jobs(connection, webhook_url=url)
            await cancel(connection, job_id, tenant=None)
        walk = await walk_receivers(connection, after=FIRST_RECEIVER, limit=9)

    assert len(walk.found) == receivers


async def test_late_mark_changes_nothing_that_somebody_else_holds(engine):
    async with engine.begin() as connection:
        await add(connection)
        await canceled(connection)
        [late] = await claim(connection)
        await due_again(connection)
        [own] = await claim(connection)
        for mark in (
            Mark(due=late, is_done=True, state="delivered"),
            Mark(due=late, delay_s=None, state="dead"),
        ):
            await settle_webhooks(connection, [mark])
        [row] = await outbox_of(connection)
        logged = await read_rows(connection, "SELECT id FROM delivery")

    assert (late.event_id, late.id) == (own.event_id, own.id)
    assert (row["holder"], row["is_dead"], row["attempts"]) == (own.holder, False, 0)
    assert logged == []


async def test_mark_that_is_written_twice_counts_once(engine):
    """A commit whose answer was lost is repeated."""
    async with engine.begin() as connection:
        await add(connection)
        await canceled(connection)
        [due] = await claim(connection)
        for _ in range(2):
            await put_off(connection, due, delay_s=5)
        [row] = await outbox_of(connection)
        logged = await read_rows(connection, "SELECT number FROM delivery")

    assert (row["attempts"], logged) == (1, [{"number": 1}])


async def test_row_that_is_handed_back_is_due_and_has_used_up_nothing(engine):
    async with engine.begin() as connection:
        await add(connection)
        await canceled(connection)
        await settle_webhooks(connection, [Mark(due=due) for due in await claim(connection)])
        again = await claim(connection)
        logged = await read_rows(connection, "SELECT id FROM delivery")

    assert ([due.attempts for due in again], logged) == ([0], [])


async def test_one_batch_of_marks_holds_every_kind(engine):
    async with engine.begin() as connection:
        await add(connection)
        await canceled(connection, 4)
        first, second, third, fourth = await claim(connection)
        await settle_webhooks(
            connection,
            [
                Mark(due=first, is_done=True, state="delivered", status_code=204, duration_ms=7, answer="ok"),
                Mark(due=second, delay_s=300, state="failed", reason="status: 500", status_code=500),
                Mark(due=third, delay_s=None, state="dead"),
                Mark(due=fourth),
            ],
        )
        rows = {row["id"]: (row["attempts"], row["is_dead"]) for row in await outbox_of(connection)}
        logged = await read_rows(
            connection,
            "SELECT state, status_code, number, next_at IS NULL AS last FROM delivery ORDER BY state",
        )

    assert rows == {second.id: (1, False), third.id: (1, True), fourth.id: (0, False)}
    assert [tuple(row.values()) for row in logged] == [
        ("dead", None, 1, True),
        ("delivered", 204, 1, True),
        ("failed", 500, 1, False),
    ]


async def test_event_leaves_when_the_one_before_it_has_left_or_died(engine):
    """Four events of one job: taken, failed, died, and the one behind it."""
    async with engine.begin() as connection:
        await add(connection, URL, *EventType)
        [job_id] = await enqueue_jobs(connection)
        for _ in range(3):
            await change_rows(
                connection, "UPDATE job SET state = 'queued', finished_at = NULL, billing = 'none'"
            )
            await cancel(connection, job_id, tenant=None)
        seen = []
        for delay_s in (0, 0, None):
            [due] = await claim(connection)
            seen.append(due.seq)
            await put_off(connection, due, delay_s=delay_s)
        [due] = await claim(connection)
        has_more = await mark_delivered(connection, [due])
        [last] = await claim(connection)

    assert (seen, due.seq, has_more, last.seq) == ([1, 1, 1], 2, True, 3)


async def test_crowd_that_waits_behind_others_is_put_out_of_the_way_and_comes_back(engine):
    async with engine.begin() as connection:
        await add(connection, URL, "job.queued", "job.canceled")
        await canceled(connection, 40)
        first = await claim(connection, room=40)
        for _ in range(4):
            assert await claim(connection, room=1) == []
        waiting = await read_rows(connection, "SELECT id FROM outbox WHERE due_at <= now()")
        has_more = await mark_delivered(connection, first)
        second = await claim(connection, room=40)

    assert {due.seq for due in first} == {1}
    assert len(waiting) < 40
    assert (has_more, len(second), {due.seq for due in second}) == (True, 40, {2})


async def test_events_of_one_move_leave_in_their_order_whatever_the_plan(engine):
    """Joined by a hash table, rows come in an order of its own."""
    async with engine.begin() as connection:
        await add(connection, URL, *EventType)
        ids = await enqueue_jobs(connection, 30)
        await change_rows(connection, "UPDATE job SET seq = 4")
        await change_rows(connection, "DELETE FROM outbox")
        for method in ("nestloop", "mergejoin"):
            await change_rows(connection, f"SET LOCAL enable_{method} = off")
        await announce(
            connection,
            [
                {"job_id": str(job_id), "type": kind, "data": {}, "back": back}
                for job_id in ids
                for kind, back in (("job.submitted", 2), ("job.retrying", 1), ("job.failed", 0))
            ],
        )
        rows = await read_rows(
            connection,
            "SELECT outbox.job_id, seq FROM outbox JOIN event ON event.id = event_id ORDER BY outbox.id",
        )

    by_job: dict[object, list[int]] = {}
    for row in rows:
        by_job.setdefault(row["job_id"], []).append(row["seq"])
    assert list(by_job.values()) == [[2, 3, 4]] * 30


async def test_resting_receiver_is_left_alone_then_tried_once_then_free(engine):
    async with engine.begin() as connection:
        await add(connection)
        await canceled(connection, 3)
        [receiver] = (await walk_receivers(connection, after=FIRST_RECEIVER, limit=9)).found
        await let_rest(connection, [Rest(receiver=receiver.id, rest_s=5, wait_s=60, is_probe=False)])
        resting = await claim(connection)
        await change_rows(connection, "UPDATE receiver SET rests_until = now()")
        [probe] = await claim(connection)
        meanwhile = await claim(connection)
        await let_rest(connection, [Rest(receiver=receiver.id, rest_s=10, wait_s=0, is_probe=True)])
        [again] = (await walk_receivers(connection, after=FIRST_RECEIVER, limit=9)).found
        await end_rest(connection, [receiver.id])
        free = await claim(connection)

    assert (resting, probe.rest_s, meanwhile, again.rest_s) == ([], 5, [], 10)
    assert len(free) == 2


async def test_second_failure_shortens_no_rest(engine):
    async with engine.begin() as connection:
        for wait_s in (60, 5):
            await let_rest(connection, [Rest(receiver=7, rest_s=5, wait_s=wait_s, is_probe=False)])
        [row] = await read_rows(
            connection, "SELECT rests_until > now() + interval '50 seconds' AS is_long FROM receiver"
        )

    assert row["is_long"]


async def test_what_was_due_for_days_at_a_failing_receiver_dies_with_a_line_in_the_log(engine):
    async with engine.begin() as connection:
        await add(connection)
        await canceled(connection, 2)
        [receiver] = (await walk_receivers(connection, after=FIRST_RECEIVER, limit=9)).found
        await change_rows(
            connection,
            "UPDATE outbox SET due_at = now() - interval '5 days' WHERE id = (SELECT min(id) FROM outbox)",
        )
        buried = await bury(connection, [receiver.id], stale_s=4 * 86_400, limit=9)
        rows = await outbox_of(connection)
        [logged] = await read_rows(connection, "SELECT state, reason FROM delivery")

    assert (buried, [row["is_dead"] for row in rows], logged["state"]) == (1, [True, False], "dead")
    assert "failed for days" in logged["reason"]


async def test_two_claims_at_once_share_no_row_and_overtake_none(engine):
    async with engine.begin() as connection:
        await add(connection, URL, "job.queued", "job.canceled")
        await canceled(connection, 6)
    async with engine.begin() as first, engine.begin() as second:
        [receiver] = (await walk_receivers(first, after=FIRST_RECEIVER, limit=9)).found
        wanted = [Wanted(receiver=receiver.id, room=3)]
        own = await claim_webhooks(first, wanted, holder=uuid4(), limit=9, hold_s=60)
        others = await claim_webhooks(second, wanted, holder=uuid4(), limit=9, hold_s=60)

    jobs = [due.job_id for due in own + others]
    assert {due.seq for due in own + others} == {1}
    assert len(jobs) == len(set(jobs)) >= 3


async def test_claim_whose_answer_was_lost_is_given_back(engine):
    async with engine.begin() as connection:
        await add(connection)
        await canceled(connection, 2)
        lost = await claim(connection)
        await release(connection, {due.holder for due in lost})
        again = await claim(connection)

    assert [due.id for due in lost] == [due.id for due in again]
