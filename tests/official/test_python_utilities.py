"""runware-sdk, what answers at once: uploads, search, account, archive; and model uploads."""

from __future__ import annotations

from uuid import uuid4

import pytest
from runware import RunwareError

from tests.official.python_sdk import fetch, picture

pytestmark = pytest.mark.slow

LIGHTHOUSE = {"model": "runware:400@1", "positivePrompt": "a lighthouse", "width": 256, "height": 256}
LORA = {
    "category": "lora",
    "architecture": "sdxl",
    "format": "safetensors",
    "air": "acme:ink@1",
    "name": "Ink",
    "version": "1",
    "downloadURL": "https://studio.example/ink.safetensors",
}


async def test_an_image_is_uploaded_and_used(client):
    [uploaded] = await client.image_upload({"image": picture()})
    [caption] = await client.run({"model": "runware:150@2", "inputs": {"image": uploaded["imageUUID"]}})

    assert fetch(uploaded["imageURL"]).headers["content-type"] == "image/png"
    assert caption["text"]


async def test_media_is_stored_and_deleted(client):
    [stored] = await client.media_storage({"operation": "upload", "media": picture()})
    fetched = fetch(stored["mediaURL"])
    [deleted] = await client.media_storage({"operation": "delete", "media": stored["mediaUUID"]})

    assert fetched.content.startswith(b"\x89PNG")
    assert deleted["operation"] == "delete"
    assert deleted["mediaUUID"] == stored["mediaUUID"]


async def test_what_is_not_stored_cannot_be_deleted(client):
    with pytest.raises(RunwareError) as caught:
        await client.media_storage({"operation": "delete", "media": str(uuid4())})

    assert caught.value.code == "notFound"


async def test_models_are_searched(client):
    [found] = await client.model_search({"search": "flux", "limit": 5})

    assert len(found["results"]) == 5 <= found["totalResults"]
    assert all("flux" in f"{model['air']} {model['name']}".lower() for model in found["results"])


async def test_the_second_page_follows_the_first(rest):
    [first] = await rest.model_search({"limit": 3})
    [second] = await rest.model_search({"limit": 3, "offset": 3})
    airs = [model["air"] for model in (*first["results"], *second["results"])]

    assert len(set(airs)) == 6


async def test_the_account_shows_what_was_spent(client):
    await client.run(LIGHTHOUSE)

    [details] = await client.account_management({"operation": "getDetails"})

    assert 0 < details["balance"]["amount"] < 25_000
    assert details["balance"]["currency"] == "USD"
    assert details["usage"]["total"]["requests"] == 1


async def test_the_account_shows_its_activity(client):
    [activity] = await client.account_management(
        {"operation": "getUsageActivity", "startDate": "2026-10-01", "endDate": "2026-10-07"}
    )

    assert activity["operation"] == "getUsageActivity"
    assert "usage" in activity


async def test_the_archive_keeps_request_and_response(client):
    [item] = await client.run(LIGHTHOUSE)

    [details] = await client.get_task_details({"taskUUID": item["taskUUID"]})

    assert details["request"][0]["positivePrompt"] == "a lighthouse"
    assert details["response"]["data"][0]["imageURL"] == item["imageURL"]


async def test_a_task_is_polled_by_hand(client):
    [item] = await client.run(LIGHTHOUSE)

    [polled] = await client.get_response({"taskUUID": item["taskUUID"]})

    assert polled == item


async def test_a_model_is_uploaded_and_followed_until_it_is_ready(client):
    [phase] = await client.model_upload(LORA)
    task_uuid = phase["taskUUID"]
    while phase.get("status") != "ready":
        [*_earlier, phase] = await client.get_response({"taskUUID": task_uuid})

    assert phase["taskType"] == "modelUpload"
    assert phase["air"] == "acme:ink@1"


async def test_an_upload_without_an_address_is_refused(client):
    with pytest.raises(RunwareError) as caught:
        await client.model_upload({name: value for name, value in LORA.items() if name != "downloadURL"})

    assert caught.value.code == "validation"
    assert caught.value.parameter == "downloadURL"
