"""Events of a job: read at once, and live over a real socket."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import httpx
import orjson
import pytest

from tests.support.polling import PATIENCE_S, poll_until_async

STREAM = {"Accept": "text/event-stream"}

MANY_LONG_EVENTS = """
WITH raised AS (UPDATE runware_jobs.job SET seq = seq + 2000 WHERE id = :id RETURNING seq, run, tenant)
INSERT INTO runware_jobs.event (id, type, tenant, job_id, run, seq, data)
SELECT gen_random_uuid(), 'job.retrying', tenant, :id, run, number,
    jsonb_build_object('text', repeat('long ', 2000))
FROM raised, generate_series(2, 2001) AS number
"""


@asynccontextmanager
async def open_stream(address, job_id, **headers):
    async with (
        httpx.AsyncClient(base_url=address, timeout=20) as client,
        client.stream("GET", f"/v1/jobs/{job_id}/events", headers=STREAM | headers) as answer,
    ):
        yield answer


async def messages(answer):
    """Yield (id, event, data) of a stream, comments as (None, None, text)."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if line == "" and fields:
            yield fields.get("id"), fields["event"], orjson.loads(fields["data"])
            fields = {}
        elif line.startswith(":"):
            yield None, None, line
        elif line:
            fields[name] = value


async def only_events(answer):
    async for message in messages(answer):
        if message[1] is not None:
            yield message


async def test_events_are_listed_in_order_and_after_a_seq(client, enqueue, jobs):
    job = await enqueue()
    await jobs.succeed(job["id"])

    every = (await client.get(f"/v1/jobs/{job['id']}/events")).json()["events"]
    later = (await client.get(f"/v1/jobs/{job['id']}/events", params={"after": 1})).json()["events"]

    assert [(event["seq"], event["type"]) for event in every] == [(1, "job.queued"), (2, "job.succeeded")]
    assert later == every[1:]


async def test_a_stream_tells_what_happens_and_ends_after_the_final_event(address, enqueue, jobs):
    job = await enqueue()

    async with open_stream(address, job["id"]) as answer:
        told = only_events(answer)
        assert answer.headers["content-type"].startswith("text/event-stream")
        id_, type_, queued = await anext(told)
        assert (id_, type_, queued["job_id"]) == ("1", "job.queued", job["id"])

        await jobs.start(job["id"], progress=40)
        assert (await anext(told))[::2] == (
            None,
            {"type": "job.progress", "job_id": job["id"], "data": {"progress": 40}},
        )

        await jobs.succeed(job["id"])
        id_, type_, _ = await anext(told)
        assert (id_, type_) == ("2", "job.succeeded")
        assert [message async for message in told] == []


async def test_a_stream_resumes_after_the_last_event_it_told(address, enqueue, jobs):
    job = await enqueue()
    await jobs.tell(job["id"], "job.submitted")
    await jobs.succeed(job["id"])

    async with open_stream(address, job["id"], **{"Last-Event-ID": "1"}) as answer:
        told = [(id_, type_) async for id_, type_, _ in only_events(answer)]

    assert told == [("2", "job.submitted"), ("3", "job.succeeded")]


async def test_a_browser_that_has_heard_everything_is_told_to_stop_asking(client, enqueue, jobs):
    job = await enqueue()
    await jobs.succeed(job["id"])

    answer = await client.get(f"/v1/jobs/{job['id']}/events", headers=STREAM | {"Last-Event-ID": "2"})

    assert answer.status_code == 204


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "²", "99999999999999999999"])
async def test_a_last_event_id_of_somebody_else_is_refused(client, enqueue, last):
    job = await enqueue()

    answer = await client.get(
        f"/v1/jobs/{job['id']}/events", headers=STREAM | {"Last-Event-ID": last.encode()}
    )

    assert answer.status_code == 422
    assert answer.json()["parameter"] == "Last-Event-ID"


async def test_a_silent_stream_says_that_it_is_there(address, enqueue):
    job = await enqueue()

    async with open_stream(address, job["id"]) as answer:
        told = messages(answer)
        assert (await anext(told))[1] == "job.queued"
        first, second = await anext(told), await anext(told)

    assert first[2].startswith(": ping")
    assert second[2].startswith(": ping")


async def test_every_stream_of_many_hears_its_own_job(address, client, enqueue, jobs, app):
    made = [await enqueue() for _ in range(20)]

    async def follow(job):
        async with open_stream(address, job["id"]) as answer:
            told = only_events(answer)
            assert (await anext(told))[1] == "job.queued"
            listening.release()
            return [(type_, data["job_id"]) async for _, type_, data in told]

    listening = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as group:
        following = [group.create_task(follow(job)) for job in made]
        for _ in made:
            await listening.acquire()
        for job in made:
            await jobs.succeed(job["id"])

    assert [task.result() for task in following] == [[("job.succeeded", job["id"])] for job in made]


async def test_a_stream_ends_when_its_job_is_pruned(address, enqueue, jobs):
    job = await enqueue()

    async with open_stream(address, job["id"]) as answer:
        told = only_events(answer)
        await anext(told)
        await jobs.run("DELETE FROM runware_jobs.job WHERE id = :id", id=job["id"])
        await jobs.hint(job["id"])

        assert [message async for message in told] == []


async def test_a_client_is_told_once_when_to_come_again(address, enqueue, jobs):
    job = await enqueue()
    await jobs.succeed(job["id"])

    async with open_stream(address, job["id"]) as answer:
        told = [line async for line in answer.aiter_lines() if line.startswith("retry: ")]

    assert len(told) == 1
    assert 1_000 <= int(told[0].removeprefix("retry: ")) <= 4_000


async def test_a_client_that_has_gone_frees_its_stream(address, enqueue, app):
    async def is_free():
        return not app.state.parts.streams.open and not app.state.parts.producer.live.watched

    job = await enqueue()
    async with open_stream(address, job["id"]) as answer:
        await anext(only_events(answer))
        assert app.state.parts.streams.open == 1

    await poll_until_async(is_free, what="a stream that was let go")


async def test_a_client_that_does_not_read_holds_up_nobody_and_is_freed(address, enqueue, jobs, app):
    """It asks, and then reads nothing at all: far more events than its socket takes."""

    async def is_open():
        return app.state.parts.streams.open

    async def is_free():
        return not app.state.parts.streams.open

    job = await enqueue()
    await jobs.run(MANY_LONG_EVENTS, id=job["id"])
    url = httpx.URL(address)
    _, writer = await asyncio.open_connection(url.host, url.port, limit=1)
    writer.write(
        f"GET /v1/jobs/{job['id']}/events HTTP/1.1\r\nHost: {url.host}:{url.port}\r\n"
        "Accept: text/event-stream\r\n\r\n".encode()
    )
    try:
        await poll_until_async(is_open, what="a stream of one who does not read")
        async with open_stream(address, job["id"], **{"Last-Event-ID": "2001"}) as answer:
            await jobs.succeed(job["id"])
            told = [type_ async for _, type_, _ in only_events(answer)]
        still_open = app.state.parts.streams.open
    finally:
        writer.transport.abort()

    assert told == ["job.succeeded"]
    assert still_open == 1
    await poll_until_async(is_free, what="a stream that was let go")


async def test_a_server_that_leaves_ends_streams_as_if_all_was_told(address, enqueue, app):
    job = await enqueue()

    async with asyncio.timeout(PATIENCE_S), open_stream(address, job["id"]) as answer:
        told = only_events(answer)
        await anext(told)
        app.state.parts.streams.leaving.set()

        assert [message async for message in told] == []


async def test_streams_of_a_tenant_are_bounded(client, enqueue, app, monkeypatch):
    monkeypatch.setattr("runware_jobs.web.live.MAX_STREAMS", 1)
    job = await enqueue()
    with app.state.parts.streams.counted("default"):
        refused = await client.get(f"/v1/jobs/{job['id']}/events", headers=STREAM)

    assert refused.status_code == 429
    assert refused.json()["code"] == "rateLimit"
    assert refused.headers["retry-after"] == "10"


async def test_a_tenant_follows_its_own_jobs_only(connect, new_key, enqueue):
    job = await enqueue()
    stranger = connect(key=await new_key(tenant="other"))

    answer = await stranger.get(f"/v1/jobs/{job['id']}/events", headers=STREAM)

    assert answer.status_code == 404
