"""Signals: each event once, in a job's order, whatever receivers do; and never to a process without them."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import Counter
from dataclasses import replace

import pytest
from sqlalchemy.event import listen
from structlog.testing import capture_logs

from runware_jobs.steps.cancel import cancel
from runware_jobs.steps.signals import finish_signals, forget_signals, send_signals
from runware_jobs.steps.submit import submit
from runware_jobs.steps.threads import CallThreads
from runware_jobs.store import processes
from tests.steps.conftest import follow
from tests.steps.test_submit_and_poll import added
from tests.support.polling import poll_until_async
from tests.support.rows import change_rows, read_rows

ALL = ("on_result", "on_progress", "on_state")


async def tell_all(context):
    """Tell what is due until nothing is left, as the worker's clock does."""
    while await send_signals(context) or context.signals_in_hand.telling or context.signals_in_hand.told:
        telling = context.signals_in_hand.telling.values()
        if telling:
            await asyncio.wait(telling, return_when=asyncio.FIRST_COMPLETED)


async def outbox_of(engine):
    async with engine.connect() as connection:
        return await read_rows(
            connection,
            "SELECT outbox.*, event.type, event.seq FROM outbox JOIN event ON event.id = outbox.event_id"
            " WHERE sink = 'signal' ORDER BY outbox.id",
        )


async def change(engine, statement, **values):
    async with engine.begin() as connection:
        await change_rows(connection, statement, **values)


def hearing(heard, *more):
    """Receivers of any signal: those in `more`, each a pair of name and call, and then one that writes down."""
    return lambda name: [*more, ("heard", lambda job, event: heard.signals.append((name, job, event)))]


@pytest.fixture
def gate():
    """A gate that receivers hang at; open at the end of the test, so that no thread is left."""
    gate = threading.Event()
    yield gate
    gate.set()


async def test_receivers_hear_each_move_in_order_with_the_job(engine, emulator, workers, heard):
    async with workers(signals=ALL) as context:
        [job_id] = await added(engine)
        await follow(context, (await submit(context)).watches)
        await tell_all(context)
    told = [(name, event["type"], event["seq"]) for name, _, event in heard.signals]
    [[_, job, event]] = [one for one in heard.signals if one[0] == "on_result"]

    assert told == [
        ("on_state", "job.queued", 1),
        ("on_state", "job.submitted", 2),
        ("on_result", "job.result", 3),
        ("on_state", "job.succeeded", 4),
    ]
    assert str(job_id) == job["id"] == event["job_id"]
    assert event["data"]["result"]["imageURL"]
    assert "link" not in job
    assert await outbox_of(engine) == []


@pytest.mark.parametrize(
    ("label", "signals", "left"),
    [
        ("none", (), ["job.queued", "job.canceled"]),
        ("progress alone", ("on_progress",), ["job.queued", "job.canceled"]),
        ("results alone", ("on_result",), ["job.queued", "job.canceled"]),
        ("states", ("on_state",), []),
    ],
)
async def test_process_leaves_to_others_what_it_has_no_receivers_for(
    engine, emulator, workers, heard, label, signals, left
):
    async with workers(signals=ALL), workers(signals=signals) as context:
        [job_id] = await added(engine)
        async with engine.begin() as connection:
            await cancel(connection, job_id, tenant=None)
        await tell_all(context)

    assert left == [row["type"] for row in await outbox_of(engine)]
    assert len(heard.signals) == 2 - len(left)


async def test_receivers_of_one_signal_do_not_wait_for_those_of_another(engine, emulator, workers, heard):
    async with workers(signals=ALL) as other, workers(signals=("on_result",)) as context:
        await added(engine)
        await follow(other, (await submit(other)).watches)
        await tell_all(context)  # the states before are still to be told, elsewhere

    assert [event["type"] for _, _, event in heard.signals] == ["job.result"]


async def test_process_whose_receivers_are_all_gone_claims_nothing(engine, emulator, workers, heard):
    async with workers(signals=ALL) as context:
        await added(engine)
        deaf = replace(context, receivers=lambda _: [])

        assert await send_signals(deaf) == 0

        await tell_all(context)

    assert [event["type"] for _, _, event in heard.signals] == ["job.queued"]


async def test_receiver_that_raises_is_logged_and_harms_no_other(engine, emulator, workers, heard):
    def fail(job, event):
        raise ValueError(f"cannot take {job['params']['positivePrompt']}")

    async with workers(signals=ALL) as context:
        [job_id] = await added(engine, params={"positivePrompt": "a secret garden"})
        with capture_logs() as logs:
            await tell_all(replace(context, receivers=hearing(heard, ("app.fail", fail))))
    [said] = [line for line in logs if line["event"] == "receiver_failed"]

    assert [event["type"] for _, _, event in heard.signals] == ["job.queued"]
    assert (said["receiver"], said["job_id"], said["error"]) == ("app.fail", str(job_id), "ValueError")
    assert said["at"].partition(":")[0] == __file__
    assert "secret garden" not in str(logs)
    assert await outbox_of(engine) == []  # it was told: nobody is told twice for it


async def test_what_a_receiver_writes_into_its_event_no_other_reads(engine, emulator, workers, heard):
    def scribble(job, event):
        job.clear()
        event["data"] = "mine"

    async with workers(signals=ALL) as context:
        [job_id] = await added(engine)
        await tell_all(replace(context, receivers=hearing(heard, ("app.scribble", scribble))))

    [[_, job, event]] = heard.signals
    assert job["id"] == str(job_id)
    assert event["data"] == {}


async def test_receiver_that_hangs_delays_its_own_job_alone_and_was_told(
    engine, emulator, workers, heard, gate
):
    async with workers(signals=ALL) as context:
        stuck, *others = await added(engine, 6)

        def hang(job, event):
            if job["id"] == str(stuck):
                gate.wait()

        hanging = replace(
            context,
            threads=CallThreads(at_once=1, most=2, limit_s=0.5),
            receivers=hearing(heard, ("app.hang", hang)),
        )
        with capture_logs() as logs:
            await tell_all(hanging)
    [said] = [line for line in logs if line["event"] == "receiver_hangs"]

    assert (said["receiver"], said["job_id"], said["limit_s"]) == ("app.hang", str(stuck), 0.5)
    assert Counter(job["id"] for _, job, _ in heard.signals) == Counter(map(str, [stuck, *others]))
    assert await outbox_of(engine) == []


async def test_when_receivers_hang_everywhere_it_is_said_and_the_rest_waits_in_the_outbox(
    engine, emulator, workers, heard, gate
):
    async with workers(signals=ALL) as context:
        hanging = replace(
            context,
            threads=CallThreads(at_once=1, most=2, limit_s=0.02),
            receivers=lambda _: [("app.hang", lambda job, event: gate.wait())],
        )
        await added(engine, 2)
        with capture_logs() as logs:
            await tell_all(hanging)
            await added(engine, 3)
            claimed = [await send_signals(hanging) for _ in range(3)]
        left = await outbox_of(engine)
        gate.set()
        mended = replace(hanging, receivers=hearing(heard))
        await poll_until_async(lambda: _is_free(mended), what="a thread back")
        await tell_all(mended)

    assert claimed == [0, 0, 0]
    assert [line["event"] for line in logs].count("receivers_hang_everywhere") == 1
    assert len(left) == 3
    assert len(heard.signals) == 3
    assert await outbox_of(engine) == []


async def _is_free(context):
    return not context.threads.is_stuck


async def test_two_processes_tell_each_event_once_and_each_job_in_order(engine, emulator, workers, heard):
    async with workers(signals=ALL) as one, workers(signals=ALL) as other:
        await added(engine, 40)
        await follow(one, (await submit(one)).watches)
        await asyncio.gather(tell_all(one), tell_all(other))
        await tell_all(one)
    by_job = {}
    for _, job, event in heard.signals:
        by_job.setdefault(job["id"], []).append(event["seq"])

    assert len(by_job) == 40
    assert all(seqs == [1, 2, 3, 4] for seqs in by_job.values())


async def test_thousands_of_events_need_a_few_threads(engine, emulator, workers):
    seen = set()
    async with workers(signals=ALL) as context:
        await added(engine, 1000)
        receivers = [("app.look", lambda job, event: seen.add(threading.get_ident()))]
        await tell_all(replace(context, receivers=lambda _: receivers))

    assert len(seen) < 50  # eight, and those that came for one that had nothing to do for long
    assert await outbox_of(engine) == []


async def test_what_a_slow_receiver_is_told_is_kept_from_others(engine, emulator, workers, heard, gate):
    async with workers(signals=ALL) as context, workers(signals=ALL) as other:
        await added(engine)
        slow = replace(context, receivers=hearing(heard, ("app.slow", lambda *_: gate.wait())))
        await send_signals(slow)
        await change(engine, "UPDATE outbox SET due_at = now() + interval '1 s'")  # its hold is nearly over
        slow.signals_in_hand.held_at = -math.inf
        await send_signals(slow)
        [held] = await outbox_of(engine)
        others = await send_signals(other)
        gate.set()
        await tell_all(slow)

    assert (held["due_at"] - held["event_created_at"]).total_seconds() > 30
    assert others == 0
    assert len(heard.signals) == 1


async def test_row_that_came_due_while_it_was_told_here_is_not_told_twice(
    engine, emulator, workers, heard, gate
):
    async with workers(signals=ALL) as context:
        await added(engine)
        slow = replace(context, receivers=hearing(heard, ("app.slow", lambda *_: gate.wait())))
        await send_signals(slow)
        await change(engine, "UPDATE outbox SET due_at = now()")  # the database was away for a minute
        again = await send_signals(slow)
        gate.set()
        await tell_all(slow)

    assert again == 0
    assert len(heard.signals) == 1


async def test_draining_marks_what_was_told_and_gives_back_what_nobody_has_begun(
    engine, emulator, workers, heard, gate
):
    begun = threading.Semaphore(0)

    def wait(job, event):
        begun.release()
        gate.wait()

    async with workers(signals=ALL) as context, workers(signals=ALL) as other:
        ending = replace(context, threads=CallThreads(at_once=1), receivers=lambda _: [("app.wait", wait)])
        await added(engine, 3)
        await send_signals(ending)
        await asyncio.get_running_loop().run_in_executor(None, begun.acquire)
        finishing = asyncio.ensure_future(finish_signals(ending, within_s=20))
        gate.set()
        await finishing
        left = await outbox_of(engine)
        await tell_all(other)

    assert len(left) == 2
    assert len(heard.signals) == 2  # at once: nobody waits for the end of a hold


async def test_draining_does_not_wait_for_a_receiver_that_hangs_and_its_row_comes_again(
    engine, emulator, workers, heard, gate
):
    async with workers(signals=ALL) as context, workers(signals=ALL) as other:
        await added(engine)
        hanging = replace(context, receivers=lambda _: [("app.hang", lambda *_: gate.wait())])
        await send_signals(hanging)
        await finish_signals(hanging, within_s=0.01)
        await change(engine, "UPDATE outbox SET due_at = now()")  # the hold is over
        await tell_all(other)

    assert len(heard.signals) == 1


async def test_event_that_was_told_and_not_marked_is_told_again(engine, emulator, workers, heard):
    async with workers(signals=ALL) as dying, workers(signals=ALL) as other:
        await added(engine)
        telling = asyncio.ensure_future(send_signals(dying))
        await poll_until_async(lambda: _has(heard.signals), what="told")
        telling.cancel()  # before its mark
        dying.signals_in_hand.told.clear()
        await change(
            engine,
            "INSERT INTO outbox (sink, event_id, event_created_at, job_id)"
            " SELECT 'signal', id, created_at, job_id FROM event WHERE NOT EXISTS (SELECT FROM outbox)",
        )
        await change(engine, "UPDATE outbox SET due_at = now()")
        await tell_all(other)

    assert [event["type"] for _, _, event in heard.signals] == ["job.queued"] * 2
    assert len({event["id"] for _, _, event in heard.signals}) == 1


async def _has(told):
    return bool(told)


@pytest.mark.parametrize(
    ("label", "signals", "age", "left"),
    [
        ("somebody alive wants them", ("on_state",), "30 days", 2),
        ("who is alive wants others", ("on_result", "on_progress"), "30 days", 0),
        ("nobody wants them, but not for long", (), "6 days", 2),
    ],
)
async def test_events_for_receivers_that_nobody_has_any_more_are_forgotten(
    engine, emulator, workers, label, signals, age, left
):
    async with workers(signals=ALL) as listening:
        await added(engine, 2)
        async with engine.begin() as connection:
            await processes.give_back(connection, listening.owner)
    async with workers(signals=signals) as context:
        kept = await outbox_of(engine)
        await change(
            engine, "UPDATE outbox SET event_created_at = event_created_at - CAST(:age AS interval)", age=age
        )
        with capture_logs() as logs:
            await forget_signals(context)
        async with engine.connect() as connection:
            rows = await read_rows(connection, "SELECT id FROM outbox WHERE sink = 'signal'")

    assert len(kept) == 2
    assert len(rows) == left
    assert [line["event"] for line in logs] == (["signals_forgotten"] if left == 0 else [])


async def test_events_of_one_move_reach_the_outbox_in_order_however_they_are_joined(
    engine, emulator, workers, heard
):
    """Ids of the outbox are the order for a receiver; a hash join turns the events of one job around."""

    def hash_everything(connection, _):
        connection.execute("SET enable_nestloop = off")
        connection.execute("SET enable_mergejoin = off")
        connection.commit()

    listen(engine.sync_engine, "connect", hash_everything)
    await engine.dispose()
    async with workers(signals=ALL) as context:
        await added(engine, 400, params={"numberResults": 3, "width": 256, "height": 256})
        async with engine.begin() as connection:
            await connection.exec_driver_sql("ANALYZE runware_jobs.job")
        await follow(context, (await submit(context)).watches)
        rows = await outbox_of(engine)
    by_job = {}
    for row in rows:
        by_job.setdefault(row["job_id"], []).append(row["seq"])

    assert sum(len(seqs) > 3 for seqs in by_job.values()) == 50
    assert all(seqs == sorted(seqs) for seqs in by_job.values())
