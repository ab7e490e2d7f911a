"""PROTOCOL section 16, lines 6 to 8: streams, long tasks, files, and the side services. One test per clause."""

from __future__ import annotations

import json
from decimal import Decimal
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest

from tests.emulator.conftest import HEADERS
from tests.emulator.hooks import hook
from tests.emulator.sample_tasks import image, training
from tests.emulator.sockets import connected, fault, heard, tell

REASONING_MODEL = "anthropic:claude@fable-5"


def text(**values):
    task = {"taskType": "textInference", "taskUUID": str(uuid4()), "model": "acme:text@1"}
    task |= {"messages": [{"role": "user", "content": "“café” please"}], "deliveryMethod": "stream"}
    return {**task, **values}


def streamed(live, task):
    """The pieces of a stream as they arrived, and its lines."""
    with httpx.stream("POST", f"{live.address}/v1", json=[task], headers=HEADERS) as response:
        assert response.headers["content-type"].startswith("text/event-stream"), response.read()
        pieces = list(response.iter_raw())
    return pieces, [line for line in b"".join(pieces).decode().split("\n") if line]


def chunks(lines):
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]


# --- SSE: keep-alive comments, split UTF-8, reasoning deltas, error mid-stream, EOF without [DONE] ---


def test_line_6_keep_alive_comments_come_between_the_events(live):
    _, lines = streamed(live, text())

    assert any(line.startswith(":") for line in lines)
    assert lines[-1] == "data: [DONE]"


def test_line_6_a_character_is_split_between_two_pieces(live):
    pieces, lines = streamed(live, text())

    def is_torn(piece):
        try:
            piece.decode()
        except UnicodeDecodeError:
            return True
        return False

    assert any(is_torn(piece) for piece in pieces)
    assert "“café”" in "".join(chunk["delta"].get("text", "") for chunk in chunks(lines))


def test_line_6_reasoning_comes_in_deltas_of_its_own(live):
    _, lines = streamed(live, text(model=REASONING_MODEL))

    deltas = [next(iter(chunk["delta"]), None) for chunk in chunks(lines)]
    assert deltas[0] == "reasoningContent"
    assert deltas[-2:] == ["text", None]
    assert sorted(deltas[:-1]) == deltas[:-1]


def test_line_6_usage_and_cost_are_in_the_last_chunk_only(live):
    _, lines = streamed(live, text(includeUsage=True, includeCost=True))

    found = chunks(lines)
    assert {"usage", "cost"} <= set(found[-1])
    assert not any({"usage", "cost"} & set(chunk) for chunk in found[:-1])
    assert [chunk["finishReason"] for chunk in found] == [None] * (len(found) - 1) + ["stop"]


def test_line_6_an_error_in_mid_stream(live):
    fault(live, "provider_error")
    task = text()

    _, lines = streamed(live, task)

    found = chunks(lines)
    assert "delta" in found[0]
    assert (found[-1]["errors"][0]["code"], found[-1]["errors"][0]["taskUUID"]) == (
        "providerError",
        task["taskUUID"],
    )
    assert "data: [DONE]" not in lines


def test_line_6_the_stream_ends_without_done(live):
    fault(live, {"on": "submit", "action": {"kind": "truncate", "part": 0.5}})

    _, lines = streamed(live, text())

    found = chunks(lines)
    assert found
    assert {chunk["finishReason"] for chunk in found} == {None}
    assert "data: [DONE]" not in lines


# --- modelUpload phases, training with progress, uploadEndpoint PUT, ttl expiry, cost per item ---


async def test_line_7_model_upload_streams_its_phases(live):
    task = {"taskType": "modelUpload", "taskUUID": str(uuid4()), "category": "lora", "architecture": "flux1d"}
    task |= {"format": "safetensors", "name": "Ink", "version": "1", "air": "acme:ink@1"}
    task |= {"downloadURL": "https://files.example/ink.safetensors"}
    async with connected(live) as socket:
        await tell(socket, task)
        items = [(await heard(socket))["data"][0] for _ in range(5)]

    assert [item["status"] for item in items] == ["validated", "downloaded", "optimized", "stored", "ready"]
    assert {item["air"] for item in items} == {"acme:ink@1"}


async def test_line_7_training_shows_progress_and_ends_with_a_model(still):
    task = training()
    await still.send(task)

    progress = []
    for _ in range(4):
        progress.append((await still.poll(task["taskUUID"]))["data"][0]["progress"])
        still.pass_time(1800)
    end = (await still.poll(task["taskUUID"]))["data"][0]

    assert progress == [0, 25, 50, 75]
    assert (end["status"], end["air"]) == ("success", "acme:watercolour@1")


async def test_line_7_an_upload_endpoint_gets_the_file_by_put(still):
    async with hook() as receiver:
        task = image(uploadEndpoint=receiver.url, outputFormat="PNG", width=128, height=128)
        await still.send(task)
        still.pass_time(2)
        body = await receiver.next_body()
    url = (await still.poll(task["taskUUID"]))["data"][0]["imageURL"]

    assert body[:8] == b"\x89PNG\r\n\x1a\n"
    assert body == (await still.http.get(url)).content


async def test_line_7_a_media_url_is_404_after_its_ttl(still):
    task = image(ttl=60, width=128, height=128)
    await still.send(task)
    still.pass_time(2)
    url = (await still.poll(task["taskUUID"]))["data"][0]["imageURL"]

    before = await still.http.get(url)
    still.pass_time(61)
    after = await still.http.get(url)

    assert (before.status_code, after.status_code) == (200, 404)


async def test_line_7_each_item_has_its_cost(still):
    task = image(numberResults=3, includeCost=True)
    await still.send(task)
    still.pass_time(2)

    items = (await still.poll(task["taskUUID"]))["data"]
    billed = (await still.ledger())["tasks"][task["taskUUID"]]["billed_usd"]

    assert all(item["cost"] > 0 for item in items)
    assert sum(Decimal(str(item["cost"])) for item in items) == Decimal(billed)


# --- registry with ETag/304, /resolve raw and encoded, content with fixtures, serverless ---


async def test_line_8_the_registry_has_an_etag_and_answers_304(still):
    first = await still.http.get("/schemas/registry.json")
    again = await still.http.get("/schemas/registry.json", headers={"If-None-Match": first.headers["etag"]})

    assert set(first.json()) >= {"version", "models", "architectureTaskTypes", "modalityTaskTypes"}
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("write", [str, lambda air: quote(air, safe="")], ids=["raw", "encoded"])
async def test_line_8_resolve_takes_a_raw_and_an_encoded_air(still, write):
    response = await still.http.get(f"/schemas/resolve/{write('runware:400@1')}")

    assert response.status_code == 200
    assert response.json()["requestSchema"]["properties"]["taskType"]


async def test_line_8_resolve_does_not_know_everything(still):
    response = await still.http.get("/schemas/resolve/acme:nothing@1")

    assert response.status_code == 404


@pytest.mark.parametrize(
    "path", ["models", "collections", "creators", "capabilities", "models/runware:400@1/examples"]
)
async def test_line_8_the_content_endpoints_have_something_to_show(still, path):
    listed = (await still.http.get(f"/content/{path}")).json()

    assert listed


async def test_line_8_serverless_is_idempotent_by_task_id(still):
    call = {"taskId": str(uuid4()), "payload": {"words": "hello"}}
    url = "/serverless/v1/apps/demo-app/invoke-async/echo"

    first = await still.http.post(url, json=call, headers=HEADERS)
    again = await still.http.post(url, json={**call, "payload": {"words": "other"}}, headers=HEADERS)

    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()


async def test_line_8_a_fresh_serverless_task_is_404_for_a_while(still):
    await still.configure(switches={"serverless_lag_s": 2})
    call = {"taskId": str(uuid4()), "payload": {}}
    await still.http.post("/serverless/v1/apps/demo-app/invoke-async/echo", json=call, headers=HEADERS)
    url = f"/serverless/v1/apps/demo-app/tasks/{call['taskId']}"

    early = await still.http.get(url, headers=HEADERS)
    still.pass_time(2.1)
    late = await still.http.get(url, headers=HEADERS)

    assert (early.status_code, late.status_code) == (404, 200)
    assert late.json()["status"] == "completed"
