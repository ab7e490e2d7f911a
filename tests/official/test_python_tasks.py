"""runware-sdk, every task type that runs for a while: over REST and WebSocket, delivered async and sync."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from runware import RunOptions

from tests.official.python_sdk import fetch, picture, size_of

pytestmark = pytest.mark.slow

LIGHTHOUSE = {"model": "runware:400@1", "positivePrompt": "a lighthouse", "width": 256, "height": 256}
QUESTION = {"model": "google:gemma@4-31b", "messages": [{"role": "user", "content": "Explain gravity"}]}
# Small and short, because its film is really drawn.
VIDEO = {"model": "google:3@3", "positivePrompt": "waves", "width": 640, "height": 360, "duration": 4}
# Name -> (parameters, field of the result that holds what was asked for).
TASKS: dict[str, tuple[dict[str, Any], str]] = {
    "image": (LIGHTHOUSE, "imageURL"),
    "image by slug": ({**LIGHTHOUSE, "model": "bfl-flux-2-dev"}, "imageURL"),
    "image of a community model": (
        {**LIGHTHOUSE, "model": "civitai:133005@782002", "taskType": "imageInference"},
        "imageURL",
    ),
    "image in base64": ({**LIGHTHOUSE, "outputType": "base64Data"}, "imageBase64Data"),
    "image as data URI": ({**LIGHTHOUSE, "outputType": "dataURI", "outputFormat": "PNG"}, "imageDataURI"),
    "audio": (
        {
            "model": "alibaba:qwen@3-tts-1.7b-voicedesign",
            "positivePrompt": "a calm, friendly voice",
            "speech": {"text": "Hello world", "voice": "design"},
        },
        "audioURL",
    ),
    "text": (QUESTION, "text"),
    "3D": ({"model": "tencent:hunyuan-3d@3.1-rapid", "positivePrompt": "a teapot"}, "outputs"),
    "caption": ({"model": "runware:150@2", "inputs": {"image": picture()}}, "text"),
    "upscale": (
        {"model": "runware:504@1", "inputs": {"image": picture()}, "upscaleFactor": 2},
        "imageURL",
    ),
    "background removal": ({"model": "runware:109@1", "inputs": {"image": picture()}}, "imageURL"),
    "controlnet preprocess": (
        {"model": "runware:controlnet-preprocess@canny", "inputs": {"image": picture()}},
        "guideImageURL",
    ),
    "masking": ({"model": "runware:35@1", "inputs": {"image": picture()}}, "maskImageURL"),
    "vectorize": ({"model": "picsart:1@1", "inputs": {"image": picture()}}, "imageURL"),
    "prompt enhance": (
        {"model": "runware:llama-3-1-8b@prompt-enhancer", "prompt": "a lighthouse"},
        "text",
    ),
    "tools": (
        {"model": "runware:ffmpeg@0", "inputs": {"image": picture()}, "outputFormat": "PNG"},
        "outputs",
    ),
}
ASYNC_ONLY: dict[str, tuple[dict[str, Any], str]] = {
    "video": (VIDEO, "videoURL"),
    "training": (
        {
            "model": "exactly:illustrative@training",
            "inputs": {"dataset": "https://studio.example/pictures.zip"},
            "importModel": {"air": "acme:watercolour@1", "name": "Watercolour"},
        },
        "air",
    ),
}


async def test_every_task_is_polled_to_its_end_beside_all_others(client, emulator):
    emulator.configure(latencies={"training": 1})
    calls = {**TASKS, **ASYNC_ONLY}

    outcomes = await asyncio.gather(
        *(client.run({**params, "includeCost": True}) for params, _field in calls.values()),
        return_exceptions=True,
    )

    wrong = {
        name: outcome
        for (name, (_params, field)), outcome in zip(calls.items(), outcomes, strict=True)
        if not (isinstance(outcome, list) and is_whole(outcome, field))
    }
    assert wrong == {}


@pytest.mark.parametrize("name", TASKS)
async def test_a_task_is_delivered_sync(client, name):
    params, field = TASKS[name]

    [item] = await client.run({**params, "deliveryMethod": "sync"})

    assert item[field]


async def test_several_images_come_one_by_one_and_all_different(client):
    seen = []

    items = await client.run({**LIGHTHOUSE, "numberResults": 4, "seed": 7}, RunOptions(on_result=seen.append))

    assert [item["imageUUID"] for item in items] == [item["imageUUID"] for item in seen]
    assert len({item["imageUUID"] for item in items}) == 4
    assert len({item["seed"] for item in items}) == 4
    assert len({fetch(item["imageURL"]).content for item in items}) == 4


async def test_several_images_are_delivered_sync(client):
    items = await client.run({**LIGHTHOUSE, "numberResults": 3, "deliveryMethod": "sync"})

    assert len({item["imageUUID"] for item in items}) == 3


async def test_several_videos(client):
    items = await client.run({**VIDEO, "numberResults": 2})

    assert len({item["videoURL"] for item in items}) == 2
    assert fetch(items[0]["videoURL"]).headers["content-type"] == "video/mp4"


async def test_the_file_has_the_size_that_was_asked_for(rest):
    [item] = await rest.run({**LIGHTHOUSE, "width": 512, "height": 256})

    assert size_of(item["imageURL"]) == (512, 256)


async def test_upscale_works_on_the_picture_that_was_sent(rest):
    [item] = await rest.run(
        {"model": "runware:504@1", "inputs": {"image": picture(96, 64)}, "upscaleFactor": 2}
    )

    assert size_of(item["imageURL"]) == (192, 128)


async def test_a_training_tells_its_progress_and_ends_with_the_model(client, emulator):
    # 1.8 seconds: the SDK looks after 1.0, 1.5 and 2.25.
    emulator.configure(latencies={"training": 180})
    seen = []

    [item] = await client.run(
        {
            "model": "runware:flux-1-dev@style-lora-training",
            "inputs": {"dataset": "https://studio.example/pictures.zip"},
            "importModel": {"air": "acme:ink@1", "name": "Ink"},
            "triggerWord": "inkstyle",
        },
        RunOptions(on_progress=lambda item: seen.append(item["progress"])),
    )
    [picture_of_it] = await client.run({**LIGHTHOUSE, "model": item["air"], "taskType": "imageInference"})

    assert item["air"] == "acme:ink@1"
    assert item["outputs"]["files"][0]["url"]
    assert seen == sorted(seen)
    assert all(0 <= percent < 100 for percent in seen)
    assert seen
    assert picture_of_it["imageURL"]


# What the sources leave open, each on the side that the emulator does not take by itself.
OPEN = [
    {"poll_task_type": "getResponse"},
    {"running_status": "pending"},
    {"running_status": "queued"},
    {"unknown_task": "error"},
    {"result_index": True},
    {"async_push": True},
    {"cost_per": "task"},
    {"slugs": False},
]


@pytest.mark.parametrize("switches", OPEN, ids=str)
async def test_several_images_come_whichever_way_the_platform_has_it(rest, websocket, emulator, switches):
    emulator.configure(switches=switches, latencies={"image": [1, 120]})
    two = {**LIGHTHOUSE, "model": "bfl-flux-2-dev", "numberResults": 2}

    both = await asyncio.gather(rest.run(two), websocket.run(two))

    assert [len({item["imageUUID"] for item in items}) for items in both] == [2, 2]


async def test_the_caller_may_choose_the_uuid(client, emulator):
    task_uuid = str(uuid4())

    [item] = await client.run({**LIGHTHOUSE, "taskUUID": task_uuid})

    assert item["taskUUID"] == task_uuid
    assert list(emulator.ledger()["tasks"]) == [task_uuid]


def is_whole(items, field):
    """Whether there is one item, and in it what was asked for, its end and its price."""
    return (
        len(items) == 1
        and bool(items[0].get(field))
        and items[0]["status"] == "success"
        and "cost" in items[0]
    )
