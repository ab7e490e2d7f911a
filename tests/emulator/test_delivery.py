"""Submitting and polling over REST, with time standing still between the steps."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from tests.emulator.sample_tasks import image, training, video


async def test_async_submit_is_acknowledged_once_per_task(still):
    first, second = image(numberResults=3), video()

    response = await still.send(first, second)

    assert response.status_code == 200
    assert response.json() == {
        "data": [
            {"taskType": "imageInference", "taskUUID": first["taskUUID"]},
            {"taskType": "videoInference", "taskUUID": second["taskUUID"]},
        ]
    }


async def test_poll_shows_all_items_as_they_finish_one_after_another(still):
    task = image(numberResults=3, includeCost=True)
    await still.send(task)

    at_start = await still.poll(task["taskUUID"])
    still.pass_time(1.7)
    between = await still.poll(task["taskUUID"])
    still.pass_time(0.3)
    at_end = await still.poll(task["taskUUID"])

    assert [item["status"] for item in at_start["data"]] == ["processing"] * 3
    assert [item["status"] for item in between["data"]] == ["success", "success", "processing"]
    assert [item["status"] for item in at_end["data"]] == ["success"] * 3
    assert between["data"][:2] == at_end["data"][:2]
    assert len({item["imageUUID"] for item in at_end["data"]}) == 3
    assert all(item["cost"] > 0 for item in at_end["data"])


async def test_one_request_polls_many_tasks(still):
    tasks = [image() for _ in range(5)]
    await still.send(*tasks)
    still.pass_time(2)

    answer = await still.poll(*(task["taskUUID"] for task in tasks))

    assert [task["taskUUID"] for task in tasks] == [item["taskUUID"] for item in answer["data"]]


async def test_sync_images_answer_with_the_result(still):
    task = image(numberResults=2)
    del task["deliveryMethod"]

    sending = asyncio.create_task(still.send(task))
    while not still.platform.tasks or not next(iter(still.platform.tasks.values())).listeners:
        await asyncio.sleep(0)
    still.pass_time(2)
    response = await sending

    assert response.status_code == 200
    assert [task["taskUUID"]] * 2 == [item["taskUUID"] for item in response.json()["data"]]
    assert all("status" not in item for item in response.json()["data"])


async def test_training_reports_progress_and_leaves_a_model(still):
    task = training(includeCost=True)
    await still.send(task)

    still.pass_time(3600)
    half = await still.poll(task["taskUUID"])
    still.pass_time(3600)
    end = await still.poll(task["taskUUID"])
    found = await still.send({"taskType": "modelSearch", "taskUUID": str(uuid4()), "search": "watercolour"})

    assert half["data"][0]["status"] == "processing"
    assert half["data"][0]["progress"] == 50
    assert end["data"][0]["air"] == "acme:watercolour@1"
    assert end["data"][0]["outputs"]["files"][0]["url"].startswith("http://emulator.test/assets/")
    assert found.json()["data"][0]["results"][0]["air"] == "acme:watercolour@1"


async def test_a_duplicate_is_refused_and_billed_once(still):
    task = image()
    await still.send(task)

    again = await still.send(task)
    still.pass_time(2)
    ledger = await still.ledger()

    assert again.status_code == 400
    assert again.json()["data"] == []
    assert again.json()["errors"][0]["code"] == "conflictTaskUUID"
    entry = ledger["tasks"][task["taskUUID"]]
    assert tuple(entry[name] for name in ("submits", "accepted", "duplicates", "items", "state")) == (
        2,
        1,
        1,
        1,
        "success",
    )


async def test_a_refused_duplicate_overwrites_the_archive_unless_switched_off(still):
    overwritten, kept = image(), image()

    await still.send(overwritten)
    await still.send(overwritten)
    await still.configure(switches={"duplicate_overwrites_archive": False})
    await still.send(kept)
    await still.send(kept)
    still.pass_time(2)
    details = [
        (await still.send({"taskType": "getTaskDetails", "taskUUID": task["taskUUID"]})).json()["data"][0]
        for task in (overwritten, kept)
    ]

    assert details[0]["response"]["errors"][0]["code"] == "conflictTaskUUID"
    assert details[1]["response"]["data"][0]["status"] == "success"
    assert details[1]["request"] == [kept]


async def test_one_bad_task_does_not_spoil_the_others(still):
    good, bad = image(), image(width=513)

    response = await still.send(good, bad)

    assert response.status_code == 200
    assert [good["taskUUID"]] == [item["taskUUID"] for item in response.json()["data"]]
    error = response.json()["errors"][0]
    assert (error["taskUUID"], error["code"], error["parameter"]) == (
        bad["taskUUID"],
        "invalidWidth",
        "width",
    )


@pytest.mark.parametrize(
    ("change", "code", "parameter"),
    [
        pytest.param({"taskType": "paint"}, "unsupportedTaskType", "taskType", id="unknown-type"),
        pytest.param({"taskType": None}, "missingTaskType", "taskType", id="no-type"),
        pytest.param({"taskUUID": "7"}, "invalidTaskUUID", "taskUUID", id="no-uuid"),
        pytest.param({"model": None}, "missingModel", "model", id="no-model"),
        pytest.param({"model": "flux"}, "invalidModel", "model", id="no-air"),
        pytest.param({"model": ["runware:400@1"]}, "invalidModel", "model", id="list-as-model"),
        pytest.param({"positivePrompt": None}, "missingPositivePrompt", "positivePrompt", id="no-prompt"),
        pytest.param({"positivePrompt": ""}, "invalidPositivePrompt", "positivePrompt", id="empty-prompt"),
        pytest.param({"height": 64}, "invalidHeight", "height", id="too-flat"),
        pytest.param({"numberResults": 0}, "invalidNumberResults", "numberResults", id="no-results"),
        pytest.param({"deliveryMethod": "later"}, "invalidDeliveryMethod", "deliveryMethod", id="delivery"),
        pytest.param({"outputFormat": "BMP"}, "invalidOutputFormat", "outputFormat", id="format"),
        pytest.param({"ttl": 5}, "invalidTtl", "ttl", id="ttl"),
    ],
)
async def test_bad_tasks_name_the_parameter(still, change, code, parameter):
    response = await still.send(image(**change))

    error = response.json()["errors"][0]
    assert response.status_code == 400
    assert (code, parameter) == (error["code"], error["parameter"])


@pytest.mark.parametrize("body", [b"{}", b"[]", b"nonsense", b"[1]"])
async def test_anything_but_an_array_of_tasks_is_a_400(still, body):
    response = await still.http.post("/v1", content=body, headers={"Authorization": "Bearer k"})

    assert response.status_code == 400


async def test_keys_are_taken_from_the_header_or_the_first_task(still):
    in_body = await still.send({"taskType": "authentication", "apiKey": "acme.two"}, image(), headers={})
    bad = await still.send(image(), headers={"Authorization": "Bearer bad-key"})
    none = await still.send(image(), headers={})

    assert [item["taskType"] for item in in_body.json()["data"]] == ["authentication", "imageInference"]
    assert (bad.status_code, bad.json()["errors"][0]["code"]) == (401, "invalidApiKey")
    assert (none.status_code, none.json()["errors"][0]["code"]) == (401, "missingApiKey")


async def test_unknown_tasks_answer_nothing_or_an_error_by_switch(still):
    nothing = await still.poll(str(uuid4()))
    await still.configure(switches={"unknown_task": "error"})
    error = await still.poll(str(uuid4()))

    assert nothing == {"data": []}
    assert error["errors"][0]["code"] == "taskNotFound"


async def test_nobody_else_sees_a_task(still):
    task = image()
    await still.send(task)

    other = await still.send(
        {"taskType": "getResponse", "taskUUID": task["taskUUID"]},
        headers={"Authorization": "Bearer else.one"},
    )
    same_organisation = await still.send(
        {"taskType": "getResponse", "taskUUID": task["taskUUID"]},
        headers={"Authorization": "Bearer acme.two"},
    )

    assert other.json() == {"data": []}
    assert len(same_organisation.json()["data"]) == 1


async def test_results_are_forgotten_after_retention_but_their_uuid_is_not(still):
    task = image()
    await still.configure(switches={"retention_s": 60})
    await still.send(task)
    still.pass_time(63)

    forgotten = await still.poll(task["taskUUID"])
    again = await still.send(task)

    assert forgotten == {"data": []}
    assert again.json()["errors"][0]["code"] == "conflictTaskUUID"


async def test_dry_run_prices_without_running(still):
    task = image(numberResults=4)

    response = await still.send(task, headers={"Authorization": "Bearer k", "X-Runware-Dry-Run": "1"})
    still.pass_time(10)

    assert response.json()["data"][0]["cost"] > 0
    assert await still.poll(task["taskUUID"]) == {"data": []}
    assert (await still.ledger())["totals"]["billed_usd"] == "0.0000"


async def test_older_task_names_are_understood_and_echoed(still):
    task = {"taskType": "imageCaption", "taskUUID": str(uuid4()), "model": "runware:152@2"}
    task |= {"inputImage": "https://files.example/a.jpg", "deliveryMethod": "async"}
    await still.send(task)
    still.pass_time(1)

    item = (await still.poll(task["taskUUID"]))["data"][0]

    assert item["taskType"] == "imageCaption"
    assert item["text"]


async def test_prompt_enhancement_answers_one_item_per_version(still):
    task = {"taskType": "promptEnhance", "taskUUID": str(uuid4()), "prompt": "a cat", "promptVersions": 3}
    await still.send({**task, "deliveryMethod": "async"})
    still.pass_time(1)

    items = (await still.poll(task["taskUUID"]))["data"]

    assert [task["taskUUID"]] * 3 == [item["taskUUID"] for item in items]
    assert all(item["text"].startswith("a cat, ") for item in items)


async def test_model_upload_passes_through_its_phases(still):
    await still.configure(latencies={"modelUpload": 10})
    task = {"taskType": "modelUpload", "taskUUID": str(uuid4()), "category": "lora", "architecture": "flux1d"}
    task |= {"format": "safetensors", "name": "Ink", "version": "1", "air": "acme:ink@1"}
    task |= {"downloadURL": "https://files.example/ink.safetensors", "deliveryMethod": "async"}
    await still.send(task)

    seen = []
    for _ in range(11):
        seen.append((await still.poll(task["taskUUID"]))["data"][-1]["status"])
        still.pass_time(1)

    phases = list(dict.fromkeys(seen))
    assert phases == ["processing", "validated", "downloaded", "optimized", "stored", "ready"]


async def test_async_only_types_are_acknowledged_unasked_and_refuse_sync(still):
    film, trained = video(), training()

    unasked = (await still.send(film, trained)).json()["data"]
    refused = (await still.send(video(deliveryMethod="sync"))).json()["errors"][0]

    assert [set(item) for item in unasked] == [{"taskType", "taskUUID"}] * 2
    assert refused["code"] == "invalidDeliveryMethod"


async def test_sync_and_async_tasks_go_together_in_one_request(still):
    slow, quick = image(), image(deliveryMethod="sync")

    sending = asyncio.create_task(still.send(slow, quick))
    while not any(task.listeners for task in still.platform.tasks.values()):
        await asyncio.sleep(0)
    still.pass_time(2)
    data = (await sending).json()["data"]

    assert [(item["taskUUID"], "imageURL" in item) for item in data] == [
        (slow["taskUUID"], False),
        (quick["taskUUID"], True),
    ]
