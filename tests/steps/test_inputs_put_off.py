"""Inputs that do not come through: they hold up nobody but the jobs that need them, and not those for ever."""

from __future__ import annotations

from itertools import pairwise

import pytest

from runware_jobs.steps.inputs import upload_inputs
from tests.steps.test_inputs import added, changed, picture, rows, settled

MORE_THAN_A_ROUND = 201
NEVER_ARRIVES = {"on": "any", "taskType": "mediaStorage", "action": {"kind": "reset"}}
ANSWER_IS_LOST = {"on": "any", "taskType": "mediaStorage", "action": {"kind": "reset_after"}}
BUSY = {
    "on": "any",
    "taskType": "mediaStorage",
    "action": {"kind": "status", "status": 429, "body": "task"},
}


async def put_off(engine, *, uploads=1):
    await changed(engine, f"UPDATE input SET uploads = {uploads}, expires_at = now() + interval '1 hour'")


async def tried(engine, context, *, times):
    """Upload so often, each time when the pause is over; give the pauses."""
    pauses = []
    for _ in range(times):
        await changed(engine, "UPDATE input SET expires_at = now() WHERE media_uuid IS NULL")
        await settled(context)
        [row] = await rows(
            engine, "SELECT EXTRACT(EPOCH FROM expires_at - clock_timestamp()) AS s FROM input"
        )
        pauses.append(float(row["s"]))
    return pauses


async def test_jobs_that_wait_for_a_put_off_input_do_not_hide_those_behind_them(engine, emulator, workers):
    await added(engine, *[picture()] * MORE_THAN_A_ROUND)
    await put_off(engine)
    [behind] = await added(engine, picture(fill=b"y"))
    async with workers() as context:
        await settled(context)

    assert await rows(engine, "SELECT id FROM job WHERE inputs = 'ready'") == [{"id": behind}]


async def test_input_that_one_tenant_has_put_off_is_uploaded_for_another(engine, emulator, workers):
    await added(engine, picture(), tenant="a")
    await put_off(engine)
    await added(engine, picture(), tenant="b")
    async with workers() as context:
        await settled(context)

    assert await rows(engine, "SELECT tenant FROM job WHERE inputs = 'ready'") == [{"tenant": "b"}]


async def test_jobs_are_looked_at_again_when_their_pause_is_over(engine, emulator, workers):
    await added(engine, *[picture()] * 2)
    await put_off(engine)
    async with workers() as context:
        held = await upload_inputs(context)
        await changed(engine, "UPDATE input SET expires_at = now()")
        await settled(context)

    assert not held.has_more
    assert await rows(engine, "SELECT DISTINCT inputs FROM job") == [{"inputs": "ready"}]


@pytest.mark.parametrize("fault", [NEVER_ARRIVES, ANSWER_IS_LOST], ids=["never arrives", "answer is lost"])
async def test_upload_that_stays_unclear_is_tried_ever_more_seldom_and_fails_its_jobs_in_the_end(
    engine, emulator, workers, fault
):
    emulator.inject(fault)
    await added(engine, *[picture()] * 2)
    async with workers() as context:
        pauses = await tried(engine, context, times=14)
        before = await rows(engine, "SELECT DISTINCT state FROM job")
        await tried(engine, context, times=1)
    failed = await rows(
        engine,
        "SELECT state, billing, error ->> 'code' AS code, error ->> 'retryable' AS retryable,"
        " error ->> 'parameter' AS parameter, count(*) AS n FROM job GROUP BY 1, 2, 3, 4, 5",
    )

    assert before == [{"state": "queued"}]
    assert 0 < pauses[0] <= 2
    assert all(later > earlier for earlier, later in pairwise(pauses[:8]))
    assert all(240 < pause <= 300 for pause in pauses[8:])
    assert failed == [
        {
            "state": "failed",
            "billing": "none",
            "code": "connection",
            "retryable": "true",
            "parameter": "inputs.image",
            "n": 2,
        }
    ]
    assert await rows(engine, "SELECT uploads, failures FROM input") == [{"uploads": 1, "failures": 0}]


async def test_upload_that_was_unclear_for_a_while_comes_through_under_its_number(engine, emulator, workers):
    emulator.inject({**NEVER_ARRIVES, "count": 5})
    await added(engine, picture())
    async with workers() as context:
        await tried(engine, context, times=6)

    assert await rows(engine, "SELECT inputs FROM job") == [{"inputs": "ready"}]
    assert await rows(engine, "SELECT uploads, failures FROM input") == [{"uploads": 1, "failures": 0}]


async def test_platform_that_is_busy_says_nothing_against_an_input(engine, emulator, workers):
    emulator.inject(BUSY)
    await added(engine, picture())
    async with workers() as context:
        await tried(engine, context, times=12)

    assert await rows(engine, "SELECT state, inputs FROM job") == [{"state": "queued", "inputs": "awaited"}]
    assert await rows(engine, "SELECT failures FROM input") == [{"failures": 0}]


OUTAGE = {"on": "any", "action": {"kind": "reset"}}
REFUSED_FOR_NOW = {
    "on": "any",
    "taskType": "mediaStorage",
    "count": 1,
    "action": {"kind": "status", "status": 400, "body": "task", "code": "uploadFailed"},
}


async def test_outage_of_the_whole_platform_fails_no_job_however_long_it_lasts(engine, emulator, workers):
    emulator.inject(OUTAGE)
    await added(engine, picture())
    async with workers() as context:
        await tried(engine, context, times=17)
        during = await rows(engine, "SELECT state, inputs FROM job")
        emulator.reset()
        await tried(engine, context, times=1)

    assert during == [{"state": "queued", "inputs": "awaited"}]
    assert await rows(engine, "SELECT state, inputs FROM job") == [{"state": "queued", "inputs": "ready"}]


async def test_uploads_without_an_answer_do_not_count_as_refusals(engine, emulator, workers):
    emulator.inject({**NEVER_ARRIVES, "count": 5})
    await added(engine, picture())
    async with workers() as context:
        await tried(engine, context, times=5)
        emulator.inject(REFUSED_FOR_NOW)
        await tried(engine, context, times=2)

    assert await rows(engine, "SELECT state, inputs FROM job") == [{"state": "queued", "inputs": "ready"}]


async def test_upload_under_way_when_the_platform_comes_back_is_no_end(engine, emulator, workers):
    emulator.inject(OUTAGE)
    await added(engine, picture())
    async with workers() as context:
        await tried(engine, context, times=17)
        emulator.reset()
        emulator.inject({**NEVER_ARRIVES, "count": 1})
        await tried(engine, context, times=1)

    assert await rows(engine, "SELECT state, inputs FROM job") == [{"state": "queued", "inputs": "awaited"}]


CONFLICTS = REFUSED_FOR_NOW | {"action": REFUSED_FOR_NOW["action"] | {"code": "conflictTaskUUID"}}


async def test_upload_that_arrives_and_is_never_answered_ends_at_last(engine, emulator, workers):
    await added(engine, picture())
    async with workers() as context:
        for _ in range(8):
            emulator.reset()
            emulator.inject({**NEVER_ARRIVES, "count": 1})
            await tried(engine, context, times=1)
            emulator.reset()
            emulator.inject(CONFLICTS)
            await tried(engine, context, times=1)

    assert await rows(engine, "SELECT state FROM job") == [{"state": "failed"}]
