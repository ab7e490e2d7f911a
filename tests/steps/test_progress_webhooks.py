"""Progress: thin, the newest wins, at most one in half a second, and none once the job's end is written."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
from standardwebhooks.webhooks import Webhook

from runware_jobs.steps.cancel import cancel
from runware_jobs.steps.progress import EVERY_S, tell_progress
from runware_jobs.steps.signals import send_signals
from runware_jobs.steps.submit import submit
from runware_jobs.steps.threads import CallThreads
from runware_jobs.webhooks import WebhookSender
from tests.steps.conftest import follow
from tests.steps.test_deliver import add_endpoint
from tests.steps.test_submit_and_poll import added
from tests.support.delivering import deliver
from tests.support.polling import poll_until_async
from tests.support.rows import change_rows, read_job
from tests.webhooks.receiver import Receiver

VIDEO = {"taskType": "videoInference", "model": "google:3@3", "width": 1280, "height": 720, "duration": 8}


@pytest.fixture
def telling(workers, engine, emulator):
    """A process with a running job: `async with telling(...) as (context, job_id)`."""

    @asynccontextmanager
    async def begin(*, signals=("on_progress", "on_state"), **options):
        emulator.configure(latencies={"video": 100_000})
        async with AsyncExitStack() as open_now:
            context = await open_now.enter_async_context(workers(signals=signals))
            sender = await open_now.enter_async_context(WebhookSender(allow_private=True, timeout_s=5))
            [job_id] = await added(engine, params=VIDEO, **options)
            await submit(context)
            yield replace(context, progress_sender=sender), job_id
            await context.progress.aclose()

    return begin


async def through(context):
    """Tell what may be told now, and wait until it is."""
    more_in_s = await tell_progress(context)
    news = context.progress
    under_way = [*news._posting, *news._telling.values()]
    if under_way:
        await asyncio.wait(under_way)
    return more_in_s


def half_a_second_later(context):
    """Have the last telling lie back so far that the next may come."""
    told_at = context.progress._told_at
    told_at.update(dict.fromkeys(told_at, -math.inf))


def told(heard):
    return [event["data"]["progress"] for name, _, event in heard.signals if name == "on_progress"]


def sent(receiver):
    return [json.loads(request.body) for request in receiver.requests]


async def test_endpoint_that_asks_by_name_gets_it_thin_and_signed(engine, telling):
    async with Receiver() as receiver, telling() as (context, job_id):
        _, secret = await add_endpoint(engine, context, receiver.url(), "job.progress")
        context.progress.add(job_id, 40)
        await through(context)
        async with engine.connect() as connection:
            seq = (await read_job(connection, job_id))["seq"]
    [request] = receiver.requests
    event = Webhook(secret).verify(request.body, request.headers)

    assert event.keys() == {"id", "type", "created_at", "job_id", "run", "seq", "data"}
    assert event["type"] == "job.progress"
    assert (event["job_id"], event["run"], event["seq"]) == (str(job_id), 1, seq)
    assert event["data"] == {"progress": 40}
    assert request.headers["webhook-id"] == event["id"]


@pytest.mark.parametrize("events", [(), ("job.succeeded", "job.queued")])
async def test_nobody_else_gets_any(engine, telling, heard, events):
    async with Receiver() as receiver, telling(webhook_url="http://127.0.0.1:9/hooks") as (context, job_id):
        await add_endpoint(engine, context, receiver.url(), *events)
        context.progress.add(job_id, 40)
        await through(context)

    assert receiver.requests == []
    assert told(heard) == [40]


async def test_endpoint_of_another_tenant_or_a_disabled_one_gets_none(engine, telling):
    async with Receiver() as receiver, telling(tenant="acme") as (context, job_id):
        await add_endpoint(engine, context, receiver.url(), "job.progress")
        context.progress.add(job_id, 40)
        await through(context)
        async with engine.begin() as connection:
            await change_rows(
                connection,
                "UPDATE endpoint SET tenant = 'acme', is_enabled = false, disabled_reason = 'user'",
            )
        half_a_second_later(context)
        context.progress.add(job_id, 50)
        await through(context)

    assert receiver.requests == []


async def test_newest_wins_and_waits_for_its_half_second(engine, telling, heard):
    async with Receiver() as receiver, telling() as (context, job_id):
        await add_endpoint(engine, context, receiver.url(), "job.progress")
        context.progress.add(job_id, 10)
        first = await through(context)
        for progress in (20, 30, 40):
            context.progress.add(job_id, progress)
            second = await through(context)
        half_a_second_later(context)
        third = await through(context)
        context.progress.add(job_id, 50)
        half_a_second_later(context)
        await through(context)

    assert told(heard) == [10, 40, 50]
    assert [event["data"]["progress"] for event in sent(receiver)] == [10, 40, 50]
    assert len({event["id"] for event in sent(receiver)}) == 3
    assert (first, second, third) == (None, EVERY_S, None)


async def test_none_once_the_end_is_written_whoever_wrote_it(engine, telling, heard):
    async with Receiver() as receiver, telling() as (context, job_id):
        await add_endpoint(engine, context, receiver.url(), "job.progress")
        context.progress.add(job_id, 90)
        async with engine.begin() as connection:  # in the API, or a process that adopted it
            await cancel(connection, job_id, tenant=None)
        await through(context)
        half_a_second_later(context)
        context.progress.add(job_id, 95)  # an answer that was on its way
        await through(context)

    assert receiver.requests == []
    assert told(heard) == []


async def test_none_comes_to_receivers_after_they_heard_the_end(engine, telling, heard):
    """Also when progress was being told at that moment: the end waits for it."""
    gate, begun = threading.Event(), threading.Event()

    def receivers(name):
        def hear(job, event):
            if name == "on_progress":
                begun.set()
                gate.wait(20)
            heard.signals.append((name, job, event))

        return [("app.hear", hear)]

    async with telling() as (context, job_id):
        listening = replace(context, receivers=receivers)
        while await send_signals(listening):
            pass
        heard.signals.clear()
        listening.progress.add(job_id, 90)
        await tell_progress(listening)
        await asyncio.get_running_loop().run_in_executor(None, begun.wait)
        async with engine.begin() as connection:
            await cancel(connection, job_id, tenant=None)
        await send_signals(listening)
        before = list(heard.signals)
        gate.set()
        await poll_until_async(lambda: _have_come(heard, 2), what="both told")

    assert before == []
    assert [event["type"] for _, _, event in heard.signals] == ["job.progress", "job.canceled"]


async def _have_come(heard, count):
    return len(heard.signals) >= count


async def test_progress_of_a_run_that_ended_is_no_progress_of_the_next(engine, telling, heard):
    async with telling() as (context, job_id):
        context.progress.stop(job_id, 1)
        context.progress.add(job_id, 80)
        await through(context)
        async with engine.begin() as connection:
            await change_rows(connection, "UPDATE job SET run = 2")
        half_a_second_later(context)
        context.progress.add(job_id, 5)
        await through(context)

    assert told(heard) == [5]


async def test_end_takes_back_what_is_on_its_way_to_a_slow_endpoint(engine, telling):
    answers = asyncio.Event()

    async def never(request, writer):
        await answers.wait()

    async with Receiver(never) as receiver, telling() as (context, job_id):
        await add_endpoint(engine, context, receiver.url(), "job.progress")
        context.progress.add(job_id, 40)
        await tell_progress(context)
        await receiver.arrived.wait()
        [posting] = context.progress._posting
        context.progress.stop(job_id, 1)
        await asyncio.wait({posting}, timeout=5)

        assert posting.cancelled()
        assert context.progress._posting == {}


async def test_endpoint_that_hangs_is_told_little_and_delays_no_real_event(engine, telling):
    answers = asyncio.Event()

    async def on_progress_never(request, writer):
        if b"job.progress" in request.body:
            await answers.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with Receiver(on_progress_never) as receiver, telling(signals=()) as (context, job_id):
        more = await added(engine, 5, params=VIDEO)
        await submit(context)
        await add_endpoint(engine, context, receiver.url(), "job.progress", "job.canceled")
        for one in (job_id, *more):
            context.progress.add(one, 40)
        await tell_progress(context)
        await poll_until_async(lambda: _are_sent(receiver, 2), what="progress on its way")
        async with engine.begin() as connection:
            await cancel(connection, job_id, tenant=None)
        async with asyncio.timeout(5):
            await deliver(context)
        types = [event["type"] for event in sent(receiver)]

    assert types == ["job.progress", "job.progress", "job.canceled"]


async def _are_sent(receiver, count):
    return len(receiver.requests) >= count


async def test_progress_never_waits_for_a_thread(engine, telling, heard):
    gate = threading.Event()
    async with telling() as (context, job_id):
        busy = replace(context, threads=CallThreads(at_once=1, limit_s=20))
        held = asyncio.ensure_future(busy.threads.call(gate.wait))
        await poll_until_async(lambda: _is_busy(busy), what="the thread taken")
        busy.progress.add(job_id, 40)
        await through(busy)
        gate.set()
        await held

    assert told(heard) == []


async def _is_busy(context):
    return not context.threads.has_place


async def test_polls_hand_on_progress_and_its_end(engine, emulator, workers, heard):
    emulator.configure(latencies={"video": 60})
    async with Receiver() as receiver, workers(signals=("on_progress",)) as context:
        await add_endpoint(engine, context, receiver.url(), "job.progress")
        [job_id] = await added(engine, params=VIDEO)
        watches = (await submit(context)).watches

        async def has_some():
            nonlocal watches
            watches = await follow(context, watches, polls=1)
            return context.progress.newest

        await poll_until_async(has_some, what="progress")
        await through(context)
        await follow(context, watches, polls=5_000)
        await through(context)

    assert 1 <= len(receiver.requests) == len(told(heard))
    assert 0 <= told(heard)[0] < 100
    assert context.progress.newest == {}
    assert context.progress.has_ended(job_id, 1)
