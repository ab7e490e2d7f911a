"""Inputs: uploaded once whoever needs them, ahead of the jobs that do, and again when they are forgotten."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from runware_jobs.core.inputs import INLINE_BYTES, data_uri
from runware_jobs.core.request import Options
from runware_jobs.steps.cancel import retry
from runware_jobs.steps.enqueue import ask, plan
from runware_jobs.steps.inputs import upload_inputs
from runware_jobs.steps.submit import submit
from runware_jobs.store.pauses import pause_by_hand
from runware_jobs.store.plans import run_async
from tests.steps.conftest import follow
from tests.support.queued import BASE_URL
from tests.support.rows import change_rows, read_attempts, read_event_types, read_job, read_rows

UPSCALE = {"taskType": "upscale", "model": "runware:501@1"}
PNG = b"\x89PNG\r\n\x1a\n"


def picture(size_bytes=INLINE_BYTES + 1, fill=b"x"):
    return data_uri("image/png", PNG + fill * size_bytes)


async def added(engine, *medias, tenant="default", params=UPSCALE, place="image", **options):
    """Enqueue a job per picture, each in a transaction of its own as producers do."""
    jobs = []
    for media in medias:
        asked = ask({**params, "inputs": {place: media}}, Options(tenant=tenant, **options), kind="run")
        async with engine.begin() as connection:
            [one] = await run_async(
                connection, plan([asked], tenant=tenant, base_url=BASE_URL, fallback_url=BASE_URL)
            )
        jobs.append(one.job_id)
    return jobs


async def rows(engine, sql, **values):
    async with engine.connect() as connection:
        return await read_rows(connection, sql, **values)


async def changed(engine, sql):
    async with engine.begin() as connection:
        await change_rows(connection, sql)


def uploads(emulator):
    """Count the messages that were neither submits nor polls."""
    recent = httpx.get(f"{emulator.address}/_emulator/recent?limit=1000").json()
    return sum(request["others"] for request in recent["requests"])


async def settled(context, *, rounds=20):
    """Upload until a round finds nothing to do."""
    for _ in range(rounds):
        if not (await upload_inputs(context)).has_more:
            return
    raise AssertionError("uploads go on and on")


@pytest.mark.parametrize("transport", ["rest", "websocket"])
async def test_one_picture_in_many_jobs_is_uploaded_once(engine, emulator, workers, transport):
    await added(engine, *[picture()] * 30)
    async with workers(transport=transport) as context:
        none = await submit(context)
        await settled(context)
        submitted = await submit(context)
        left = await follow(context, submitted.watches)
    [stored] = await rows(engine, "SELECT uploads, media_uuid, failures FROM input")
    states = await rows(engine, "SELECT state, inputs, count(*) AS n FROM job GROUP BY 1, 2")

    assert (none.claimed, submitted.claimed, left) == (0, 30, [])
    assert (uploads(emulator), stored["uploads"], stored["failures"]) == (1, 1, 0)
    assert states == [{"state": "succeeded", "inputs": "ready", "n": 30}]
    assert emulator.ledger()["totals"]["refused"] == 0


async def test_two_workers_at_once_upload_it_once(engine, emulator, workers):
    await added(engine, picture())
    async with workers() as one, workers() as other:
        both = await asyncio.gather(*(upload_inputs(context) for context in (one, other) * 3))
        await settled(one)

    assert (uploads(emulator), sum(done.sent for done in both)) == (1, 1)
    assert await rows(engine, "SELECT inputs FROM job") == [{"inputs": "ready"}]


async def test_each_tenant_has_an_upload_of_its_own(engine, emulator, workers):
    await added(engine, picture(), tenant="a")
    await added(engine, picture(), tenant="b")
    async with workers() as context:
        await settled(context)

    found = await rows(engine, "SELECT tenant, media_uuid FROM input ORDER BY tenant")
    assert [row["tenant"] for row in found] == ["a", "b"]
    assert len({row["media_uuid"] for row in found}) == 2


async def test_small_picture_goes_along_and_nothing_is_uploaded(engine, emulator, workers):
    [job_id] = await added(engine, picture(INLINE_BYTES // 2))
    async with workers() as context:
        assert not (await upload_inputs(context)).has_more
        assert (await follow(context, (await submit(context)).watches)) == []

    assert uploads(emulator) == 0
    assert (await rows(engine, "SELECT state FROM job WHERE id = :id", id=job_id)) == [{"state": "succeeded"}]


async def test_many_pictures_leave_in_few_requests(engine, emulator, workers):
    await added(engine, *(picture(fill=bytes([n])) for n in range(20)))
    async with workers() as context:
        await settled(context)

    recent = httpx.get(f"{emulator.address}/_emulator/recent").json()["requests"]
    assert sum(request["others"] for request in recent) == 20
    assert len(recent) <= 3


async def test_job_without_inputs_does_not_wait_for_those_of_others(engine, emulator, workers):
    emulator.inject({"on": "any", "taskType": "mediaStorage", "action": {"kind": "delay", "seconds": 1.0}})
    await added(engine, picture())
    [plain] = await added(engine, "https://a.example/b.png")
    async with workers() as context:
        uploading = asyncio.create_task(upload_inputs(context))
        submitted = await submit(context)
        assert not uploading.done()
        await uploading

    assert submitted.claimed == 1
    assert (await rows(engine, "SELECT id FROM job WHERE state <> 'queued'")) == [{"id": plain}]


REFUSED = {
    "on": "any",
    "taskType": "mediaStorage",
    "action": {"kind": "status", "status": 400, "body": "task", "code": "unsupportedMedia"},
}


async def test_picture_that_the_platform_refuses_fails_its_jobs_by_the_name_of_their_parameter(
    engine, emulator, workers
):
    emulator.inject(REFUSED)
    jobs = await added(engine, *[picture()] * 3)
    async with workers() as context:
        await settled(context)
    async with engine.connect() as connection:
        failed = [await read_job(connection, job_id) for job_id in jobs]
        types = await read_event_types(connection, jobs[0])

    assert {(job["state"], job["billing"], job["error"]["code"]) for job in failed} == {
        ("failed", "none", "validation")
    }
    assert {job["error"]["parameter"] for job in failed} == {"inputs.image"}
    assert types == ["job.queued", "job.failed"]
    assert uploads(emulator) == 1


async def test_job_whose_picture_was_refused_may_be_tried_again(engine, emulator, workers):
    emulator.inject({**REFUSED, "count": 1})
    [job_id] = await added(engine, picture())
    async with workers() as context:
        await settled(context)
        async with engine.begin() as connection:
            await retry(connection, job_id, tenant=None, accept_double_billing=False)
        await changed(engine, "UPDATE input SET expires_at = now()")
        await settled(context)
        assert await follow(context, (await submit(context)).watches) == []

    assert (await rows(engine, "SELECT state, run FROM job")) == [{"state": "succeeded", "run": 2}]


@pytest.mark.parametrize(
    ("label", "fault", "uploads_then"),
    [
        ("the line breaks before", {"kind": "reset"}, 1),
        ("the answer is lost", {"kind": "reset_after"}, 1),
        ("the gateway gives up", {"kind": "status", "status": 502, "body": "html"}, 1),
        ("too busy", {"kind": "status", "status": 429, "body": "task"}, 1),
        ("a passing error", {"kind": "status", "status": 400, "body": "task", "code": "uploadFailed"}, 2),
    ],
)
async def test_upload_that_does_not_come_through_is_sent_again(
    engine, emulator, workers, label, fault, uploads_then
):
    emulator.inject({"on": "any", "taskType": "mediaStorage", "count": 1, "action": fault})
    await added(engine, picture())
    async with workers() as context:
        await settled(context)
        waits = await rows(engine, "SELECT media_uuid, expires_at > now() AS waits FROM input")
        await changed(engine, "UPDATE input SET expires_at = now()")
        await settled(context)
        submitted = await submit(context)
    [stored] = await rows(engine, "SELECT uploads, failures, media_uuid FROM input")

    assert waits == [{"media_uuid": None, "waits": True}]
    assert (stored["uploads"], stored["failures"], submitted.claimed) == (uploads_then, 0, 1)


async def test_passing_errors_end_the_job_in_the_end(engine, emulator, workers):
    emulator.inject(
        {
            "on": "any",
            "taskType": "mediaStorage",
            "action": {"kind": "status", "status": 400, "body": "task", "code": "uploadFailed"},
        }
    )
    await added(engine, picture())
    async with workers() as context:
        for _ in range(3):
            await settled(context)
            await changed(engine, "UPDATE input SET expires_at = now()")

    assert uploads(emulator) == 3
    assert (await rows(engine, "SELECT state, error ->> 'code' AS code FROM job")) == [
        {"state": "failed", "code": "provider"}
    ]


async def test_one_picture_that_spoils_a_group_does_not_hold_up_the_others(engine, emulator, workers):
    emulator.inject(
        {
            "on": "any",
            "taskType": "mediaStorage",
            "count": 1,
            "action": {"kind": "poison", "code": "invalidMedia"},
        }
    )
    await added(engine, *(picture(fill=bytes([n])) for n in range(3)))
    async with workers() as context:
        for _ in range(4):
            await settled(context)
            await changed(engine, "UPDATE input SET expires_at = now() WHERE media_uuid IS NULL")

    states = await rows(engine, "SELECT state, inputs, count(*) AS n FROM job GROUP BY 1, 2 ORDER BY 3")
    assert states == [
        {"state": "failed", "inputs": "awaited", "n": 1},
        {"state": "queued", "inputs": "ready", "n": 2},
    ]


async def test_what_a_dead_worker_began_is_sent_again_under_the_same_task(engine, emulator, workers):
    await added(engine, picture())
    await changed(engine, "UPDATE input SET uploads = 1, expires_at = now() + interval '1 min'")
    async with workers() as context:
        held = await upload_inputs(context)
        await changed(engine, "UPDATE input SET expires_at = now()")
        await settled(context)

    assert not held.has_more
    assert await rows(engine, "SELECT uploads, media_uuid IS NULL AS lost FROM input") == [
        {"uploads": 1, "lost": False}
    ]


async def test_paused_account_uploads_nothing(engine, emulator, workers):
    await added(engine, picture())
    async with workers() as context:
        async with engine.begin() as connection:
            await pause_by_hand(connection, context.owner.account_id, reason="a person")
        await settled(context)

    assert uploads(emulator) == 0


async def test_worker_that_lost_its_lease_uploads_nothing(engine, emulator, workers):
    await added(engine, picture())
    async with workers() as context:
        await changed(engine, "UPDATE process SET epoch = epoch + 1")
        await settled(context)

    assert uploads(emulator) == 0


async def test_upload_too_old_to_rely_on_is_renewed_before_the_job_goes_out(engine, emulator, workers):
    await added(engine, picture())
    async with workers() as context:
        await settled(context)
        await changed(engine, "UPDATE input SET expires_at = now()")
        early = await submit(context)
        waits = await rows(engine, "SELECT state, inputs FROM job")
        await changed(engine, "UPDATE job SET run_at = now()")
        await settled(context)
        submitted = await submit(context)
        left = await follow(context, submitted.watches)

    assert (early.watches, waits) == ((), [{"state": "queued", "inputs": "awaited"}])
    assert (len(submitted.watches), left, uploads(emulator)) == (1, [], 2)
    assert await rows(engine, "SELECT state, run, attempts FROM job") == [
        {"state": "succeeded", "run": 1, "attempts": 1}
    ]


@pytest.mark.parametrize("transport", ["rest", "websocket"])
async def test_upload_that_the_platform_forgot_is_renewed_once(engine, emulator, workers, transport):
    jobs = await added(engine, *[picture()] * 3, max_attempts=1)
    emulator.configure(switches={"upload_lifetime_s": 0})
    async with workers(transport=transport) as context:
        await settled(context)
        refused = await submit(context)
        emulator.configure(switches={"upload_lifetime_s": None})
        waiting = await rows(engine, "SELECT DISTINCT state, inputs, attempts FROM job")
        await settled(context)
        submitted = await submit(context)
        left = await follow(context, submitted.watches)
    async with engine.connect() as connection:
        attempts = await read_attempts(connection, jobs[0])
        types = await read_event_types(connection, jobs[0])

    assert refused.watches == ()
    assert waiting == [{"state": "queued", "inputs": "renewing", "attempts": 1}]
    assert (len(submitted.watches), left, uploads(emulator)) == (3, [], 2)
    assert [attempt["outcome"] for attempt in attempts] == ["refused", "succeeded"]
    assert types.count("job.retrying") == 1
    assert await rows(engine, "SELECT DISTINCT state, inputs FROM job") == [
        {"state": "succeeded", "inputs": "renewed"}
    ]


async def test_upload_that_is_forgotten_again_fails_the_job(engine, emulator, workers):
    await added(engine, picture())
    emulator.configure(switches={"upload_lifetime_s": 0})
    async with workers() as context:
        for _ in range(3):
            await settled(context)
            await submit(context)
    emulator.configure(switches={"upload_lifetime_s": None})

    assert uploads(emulator) == 2
    assert await rows(engine, "SELECT state, error ->> 'code' AS code, attempts FROM job") == [
        {"state": "failed", "code": "notFound", "attempts": 2}
    ]


async def test_unknown_model_is_not_taken_for_forgotten_media(engine, emulator, workers):
    await added(engine, picture())
    async with workers() as context:
        await settled(context)
        emulator.inject(
            {"on": "submit", "action": {"kind": "refuse", "code": "modelNotFound", "parameter": "model"}}
        )
        await submit(context)

    assert await rows(engine, "SELECT state FROM job") == [{"state": "failed"}]


async def test_input_that_is_gone_fails_its_job(engine, emulator, workers):
    await added(engine, picture())
    await changed(engine, "DELETE FROM input")
    async with workers() as context:
        await settled(context)

    assert await rows(engine, "SELECT state, error ->> 'code' AS code FROM job") == [
        {"state": "failed", "code": "notFound"}
    ]
