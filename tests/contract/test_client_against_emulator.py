"""One suite for both transports of the client, against the emulator as a process of its own."""

from __future__ import annotations

import asyncio
import time
import uuid
from decimal import Decimal

import httpx
import pytest

from runware_jobs.client import (
    Accepted,
    Blocked,
    Busy,
    Conflict,
    Missing,
    NotSent,
    Polled,
    Refused,
    RunOptions,
    Runware,
    RunwareError,
    Unclear,
)

pytestmark = pytest.mark.slow

IMAGE = {"model": "runware:400@1", "positivePrompt": "a lighthouse", "width": 512, "height": 512}


def tasks(number, **params):
    return [
        {
            "taskType": "imageInference",
            "taskUUID": str(uuid.uuid4()),
            "deliveryMethod": "async",
            "includeCost": True,
            **IMAGE,
            **params,
        }
        for _ in range(number)
    ]


async def poll_to_the_end(client, task_uuids):
    ended = {}
    async with asyncio.timeout(20):
        while len(ended) < len(task_uuids):
            outcomes = await client.poll_many([u for u in task_uuids if u not in ended])
            for task_uuid, outcome in outcomes.items():
                assert isinstance(outcome, Polled), outcome
                if outcome.errors or all(i.get("status") != "processing" for i in outcome.items):
                    ended[task_uuid] = outcome
    return ended


async def test_group_is_taken_polled_and_priced(client):
    group = tasks(120, numberResults=2)
    outcomes = await client.submit_many(group, send_before=time.time() + 30)
    ended = await poll_to_the_end(client, list(outcomes))

    assert {type(outcome) for outcome in outcomes.values()} == {Accepted}
    assert all(len(outcome.items) == 2 for outcome in ended.values())
    assert all(Decimal(str(item["cost"])) > 0 for outcome in ended.values() for item in outcome.items)


async def test_same_uuid_again_is_a_conflict(client):
    group = tasks(3)
    await client.submit_many(group)

    assert {type(outcome) for outcome in (await client.submit_many(group)).values()} == {Conflict}


async def test_bad_task_of_a_group_is_refused_alone(client):
    good, bad = tasks(1)[0], tasks(1, width=7)[0]
    outcomes = await client.submit_many([good, bad])

    assert isinstance(outcomes[good["taskUUID"]], Accepted)
    assert isinstance(outcomes[bad["taskUUID"]], Refused)


async def test_unknown_task_is_missing_beside_a_known_one(client):
    known, unknown = tasks(1)[0], str(uuid.uuid4())
    await client.submit_many([known])
    outcomes = await client.poll_many([known["taskUUID"], unknown])

    assert isinstance(outcomes[known["taskUUID"]], Polled)
    assert isinstance(outcomes[unknown], Missing)
    assert isinstance((await client.poll_many([unknown]))[unknown], Missing)


async def test_answer_that_is_lost_is_unclear_and_the_conflict_settles_it(client, faults):
    faults(on="submit", count=1, action={"kind": "lose_answer"})
    group = tasks(2)
    first = await client.submit_many(group)
    second = await client.submit_many(group)

    assert {type(outcome) for outcome in first.values()} == {Unclear}
    assert {type(outcome) for outcome in second.values()} == {Conflict}


async def test_full_queue_is_busy(client, faults):
    faults(on="submit", action={"kind": "refuse", "code": "rateLimitExceeded"})
    group = tasks(2)

    assert {type(outcome) for outcome in (await client.submit_many(group)).values()} == {Busy}


async def test_missing_credits_block_the_account(client, faults):
    faults(on="submit", action={"kind": "refuse", "code": "insufficientCredits"})
    outcome = next(iter((await client.submit_many(tasks(1))).values()))

    assert isinstance(outcome, Blocked)
    assert outcome.error.code == "quota"


async def test_nothing_reaches_the_platform_after_the_fence(client, ledger):
    group = tasks(5)
    outcomes = await client.submit_many(group, send_before=time.time() - 1)

    assert {type(outcome) for outcome in outcomes.values()} == {NotSent}
    assert not outcomes.keys() & ledger().keys()


async def test_refused_key_is_told_and_blocks(options):
    client = Runware(**{**options, "api_key": "bad-key"})
    outcome = next(iter((await client.submit_many(tasks(1))).values()))
    await client.close()

    assert isinstance(outcome, Blocked)
    assert outcome.error.code == "auth"


async def test_run_gives_results_in_order(client):
    heard = []
    results = await client.run(
        {**IMAGE, "model": "bfl-flux-2-dev", "numberResults": 3}, RunOptions(on_result=heard.append)
    )

    assert len(results) == 3
    assert len(heard) == 3
    assert all(result["imageURL"].startswith("http") for result in results)


async def test_run_survives_a_lost_answer_without_a_second_task(client, faults, ledger):
    faults(on="submit", count=1, action={"kind": "lose_answer"})
    task_uuid = str(uuid.uuid4())
    results = await client.run({**IMAGE, "taskUUID": task_uuid})
    booked = ledger()[task_uuid]

    assert len(results) == 1
    assert (booked["submits"], booked["accepted"], booked["duplicates"], booked["items"]) == (2, 1, 1, 1)


@pytest.mark.parametrize("form", ["A", "B"])
async def test_failed_item_raises_with_the_results_that_came(client, faults, form):
    faults(
        on="any", action={"kind": "item_error", "code": "contentPolicyViolation", "items": [1], "form": form}
    )
    heard = []

    with pytest.raises(RunwareError) as raised:
        await client.run({**IMAGE, "numberResults": 2}, RunOptions(on_result=heard.append))
    assert raised.value.code == "safety"
    assert any(item["status"] == "error" for item in heard)


@pytest.mark.parametrize("delivery", ["async", "sync"])
async def test_texts_of_one_task_are_all_there(client, delivery):
    params = {"model": "google:gemma@4-31b", "messages": [{"role": "user", "content": "hello"}]}
    results = await client.run({**params, "numberResults": 2, "deliveryMethod": delivery})

    assert len([result["text"] for result in results]) == 2


async def test_utilities_answer(client):
    group = tasks(1)
    await client.submit_many(group)
    await poll_to_the_end(client, [group[0]["taskUUID"]])

    assert (await client.ping())[0]["pong"] is True
    assert (await client.model_search({"search": "flux", "limit": 1}))[0]["results"]
    assert "balance" in (await client.account_management({"operation": "getDetails"}))[0]
    assert (await client.get_task_details({"taskUUID": group[0]["taskUUID"]}))[0]["request"][0][
        "taskUUID"
    ] == group[0]["taskUUID"]
    assert (await client.get_response({"taskUUID": group[0]["taskUUID"]}))[0]["imageUUID"]
    assert await client.get_response({"taskUUID": str(uuid.uuid4())}) == []


async def test_archive_says_that_it_does_not_know(client):
    with pytest.raises(RunwareError) as raised:
        await client.get_task_details({"taskUUID": str(uuid.uuid4())})

    assert raised.value.code == "notFound"


async def test_uploaded_media_can_be_named_and_deleted(client, tmp_path):
    from PIL import Image

    path = tmp_path / "photo.png"
    Image.new("RGB", (64, 64)).save(path)
    stored = await client.media_storage({"media": path})
    image = await client.image_upload({"image": str(path)})

    assert stored[0]["mediaUUID"]
    assert image[0]["imageUUID"]
    assert (await client.media_storage({"operation": "delete", "media": stored[0]["mediaUUID"]}))[0][
        "operation"
    ] == "delete"


@pytest.mark.parametrize("size", [1_000, 5_000_000])
async def test_large_media_goes_beside_the_socket_and_is_answered_the_same_way(options, emulator_url, size):
    media = "data:image/png;base64," + "A" * size
    asked = {"taskType": "mediaStorage", "operation": "upload", "taskUUID": str(uuid.uuid4()), "media": media}
    async with Runware(**options) as client:
        outcome = (await client.submit_many([asked], send_before=time.time() + 30))[asked["taskUUID"]]
        [stored] = await client.media_storage({"media": media})
    recent = httpx.get(f"{emulator_url}/_emulator/recent").json()["requests"][:2]

    assert isinstance(outcome, Accepted)
    assert outcome.items[0]["mediaUUID"]
    assert stored["mediaUUID"]
    goes_by = "rest" if size > 1_000 else options["transport"]
    assert [request["transport"] for request in recent] == [goes_by, goes_by]


async def test_model_upload_is_followed_to_ready(client):
    heard = []
    phases = await client.model_upload(
        {
            "category": "lora",
            "architecture": "sdxl",
            "format": "safetensors",
            "name": "style",
            "version": "1",
            "downloadURL": "https://models.example/style.safetensors",
        },
        on_phase=lambda phase: heard.append(phase["status"]),
    )

    assert phases[-1]["status"] == "ready"
    assert heard[-1] == "ready"


async def test_text_streams(client):
    stream = await client.stream(
        {
            "model": "google:gemma@4-31b",
            "messages": [{"role": "user", "content": "hello"}],
            "includeCost": True,
        }
    )
    pieces = [piece async for piece in stream.text_stream]
    result = await stream.result()

    assert len(pieces) > 1
    assert "".join(pieces) == result.text
    assert result.finish_reason == "stop"
