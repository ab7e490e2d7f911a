"""Both sides of what the sources leave open about money, media, models and uploads."""

from __future__ import annotations

import httpx
import pytest

from tests.emulator.conftest import HEADERS
from tests.emulator.hooks import hook
from tests.emulator.sample_tasks import image, training, video
from tests.emulator.sockets import configure


async def test_failures_may_be_billed(still):
    await still.configure(switches={"bill_failures": True})
    await still.fault("provider_error")
    task = image()
    await still.send(task)
    still.pass_time(2)
    entry = (await still.ledger())["tasks"][task["taskUUID"]]

    assert float(entry["billed_usd"]) > 0
    assert (entry["state"], entry["items"]) == ("error", 0)


async def test_cost_may_be_that_of_the_whole_task(still):
    task = image(numberResults=4, includeCost=True)
    await still.send(task)
    still.pass_time(2)

    own = (await still.poll(task["taskUUID"]))["data"][0]["cost"]
    await still.configure(switches={"cost_per": "task"})
    whole = (await still.poll(task["taskUUID"]))["data"][0]["cost"]

    assert whole == pytest.approx(4 * own)


# --- media, models, task types ---


async def test_media_may_have_a_lifetime_of_their_own(still):
    await still.configure(switches={"media_lifetime_s": 60})
    task = image(width=128, height=128)
    await still.send(task)
    still.pass_time(2)
    url = (await still.poll(task["taskUUID"]))["data"][0]["imageURL"]
    before = (await still.http.get(url)).status_code
    still.pass_time(61)

    assert (before, (await still.http.get(url)).status_code) == (200, 404)


@pytest.mark.parametrize("code", ["mediaNotFound", "mediaExpired"])
async def test_an_expired_upload_is_refused_by_its_code(still, code):
    await still.configure(switches={"upload_lifetime_s": 60, "expired_upload": code})
    upload = {"taskType": "mediaStorage", "taskUUID": image()["taskUUID"], "operation": "upload"}
    stored = (await still.send({**upload, "media": "aGVsbG8="})).json()["data"][0]
    tool = {"taskType": "upscale", "taskUUID": image()["taskUUID"], "model": "acme:tool@1"}
    tool |= {"inputs": {"image": stored["mediaUUID"]}, "deliveryMethod": "async"}
    before = await still.send(tool, headers={**HEADERS, "X-Runware-Dry-Run": "1"})
    still.pass_time(61)
    after = await still.send(tool)

    assert before.status_code == 200
    assert after.json()["errors"][0]["code"] == code


async def test_upload_endpoint_attempts(still):
    await still.configure(switches={"upload_endpoint_attempts": 2})
    async with hook(500) as receiver:
        await still.send(image(uploadEndpoint=receiver.url, width=128, height=128))
        still.pass_time(2)
        bodies = [await receiver.next_body(), await receiver.next_body()]

    assert bodies[0] == bodies[1]


async def test_older_names_and_slugs_may_be_unknown(still):
    await still.configure(switches={"legacy_names": False, "slugs": False})
    older = {"taskType": "imageCaption", "taskUUID": image()["taskUUID"], "model": "runware:152@2"}

    name = (await still.send(older)).json()["errors"][0]
    slug = (await still.send(image(model="bfl-flux-2-dev"))).json()["errors"][0]

    assert name["code"] == "unsupportedTaskType"
    assert slug["code"] == "invalidModel"


async def test_a_training_file_may_be_a_file_url(still):
    task = training()
    await still.send(task)
    still.pass_time(7200)
    plain = (await still.poll(task["taskUUID"]))["data"][0]["outputs"]["files"][0]
    await still.configure(switches={"training_file": "fileURL"})
    other = (await still.poll(task["taskUUID"]))["data"][0]["outputs"]["files"][0]

    assert set(plain) == {"uuid", "url"}
    assert other == {"fileURL": plain["url"]}


def upload_task(**values):
    task = {"taskType": "modelUpload", "taskUUID": image()["taskUUID"], "category": "lora", "name": "Ink"}
    task |= {"architecture": "flux1d", "format": "safetensors", "version": "1"}
    return {**task, "downloadURL": "https://files.example/ink.safetensors", **values}


async def test_disputed_parameters_of_a_model_upload(still):
    await still.configure(switches={"upload_delivery": False, "upload_identity": "required"})

    errors = [
        (await still.send(task)).json()["errors"][0]
        for task in (upload_task(deliveryMethod="async"), upload_task(), upload_task(air="acme:ink@1"))
    ]

    assert [(error["code"], error["parameter"]) for error in errors] == [
        ("unknownParameter", "deliveryMethod"),
        ("missingAir", "air"),
        ("missingUniqueIdentifier", "uniqueIdentifier"),
    ]


@pytest.mark.parametrize(
    ("choice", "seen"),
    [
        ("phases", ["validated", "downloaded", "optimized", "stored", "ready"]),
        ("phase", ["ready"]),
    ],
)
async def test_a_model_upload_polls_as_all_its_phases_or_as_the_latest(still, choice, seen):
    await still.configure(latencies={"modelUpload": 10}, switches={"upload_poll": choice})
    task = upload_task(deliveryMethod="async")
    await still.send(task)
    begun = (await still.poll(task["taskUUID"]))["data"]
    still.pass_time(10)

    over = (await still.poll(task["taskUUID"]))["data"]

    assert [item["status"] for item in begun] == ["processing"]
    assert [item["status"] for item in over] == seen


async def test_a_model_upload_may_poll_as_processing(still):
    await still.configure(latencies={"modelUpload": 10}, switches={"upload_poll": "processing"})
    task = upload_task(deliveryMethod="async")
    await still.send(task)

    seen = []
    for _ in range(11):
        seen.append((await still.poll(task["taskUUID"]))["data"][0]["status"])
        still.pass_time(1)

    assert list(dict.fromkeys(seen)) == ["processing", "ready"]


def test_a_model_upload_by_rest_waits_or_is_acknowledged(live):
    answers = []
    for choice in ("acknowledge", "wait"):
        configure(live, latencies={"modelUpload": 1}, switches={"upload_sync": choice})
        answers.append(
            httpx.post(f"{live.address}/v1", json=[upload_task()], headers=HEADERS).json()["data"][0]
        )

    assert "status" not in answers[0]
    assert answers[1]["status"] == "ready"


async def test_model_search_wording(still):
    search = {"taskType": "modelSearch", "taskUUID": image()["taskUUID"], "search": "flux"}
    official = (await still.send(search)).json()["data"][0]["results"][0]
    await still.configure(switches={"model_source": "featured"})
    featured = (await still.send(search)).json()["data"][0]["results"][0]

    assert (official["source"], featured["source"]) == ("official", "featured")


async def test_trigger_words_are_a_string_or_a_list(still):
    task = training(triggerWord="wtrclr")
    await still.send(task)
    still.pass_time(7200)
    search = {"taskType": "modelSearch", "taskUUID": image()["taskUUID"], "search": "watercolour"}
    search |= {"visibility": "private"}
    text = (await still.send(search)).json()["data"][0]["results"][0]
    await still.configure(switches={"trigger_words": "list"})
    listed = (await still.send(search)).json()["data"][0]["results"][0]

    assert (text["positiveTriggerWords"], listed["positiveTriggerWords"]) == ("wtrclr", ["wtrclr"])


async def test_retention_is_a_switch_and_the_archive_remembers(still):
    await still.configure(switches={"retention_s": 1})
    task = video()
    await still.send(task)
    still.pass_time(32)
    details = {"taskType": "getTaskDetails", "taskUUID": task["taskUUID"]}

    assert await still.poll(task["taskUUID"]) == {"data": []}
    assert (await still.send(details)).json()["data"][0]["response"]["data"][0]["status"] == "success"
