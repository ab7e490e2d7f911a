"""Every example call of the documentation the emulator was built from, as a raw request."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from tests.emulator.conftest import HEADERS
from tests.emulator.seed_examples import CONTENT, JS_RUNS, PYTHON_RUNS, UPLOADS, UTILITIES


async def outcome(still, task):
    """The finished items of a task, or its one answer."""
    task = {"taskType": "imageInference", "taskUUID": str(uuid4()), **task}
    if task["taskType"] in {"imageInference", "upscale", "caption", "textInference"}:
        task.setdefault("deliveryMethod", "async")
    answer = (await still.send(task)).json()
    assert "errors" not in answer, answer["errors"]
    still.pass_time(600)
    polled = await still.poll(task["taskUUID"])
    assert "errors" not in polled, polled["errors"]
    return polled["data"]


@pytest.mark.parametrize("name", PYTHON_RUNS)
async def test_runs_of_the_python_readme_succeed(still, name):
    task = PYTHON_RUNS[name]
    items = await outcome(still, {**task, "deliveryMethod": "async"})

    assert [item["status"] for item in items] == ["success"] * task.get("numberResults", 1)


@pytest.mark.parametrize("name", JS_RUNS)
async def test_runs_of_the_javascript_readmes_succeed(still, name):
    task = JS_RUNS[name]
    items = await outcome(still, {**task, "deliveryMethod": "async"})

    expected = task.get("numberResults", task.get("promptVersions", 1))
    assert [item["status"] for item in items] == ["success"] * expected
    assert all("cost" in item for item in items) is task.get("includeCost", False)


@pytest.mark.parametrize("name", UPLOADS)
async def test_model_uploads_get_ready(still, name):
    items = await outcome(still, UPLOADS[name])

    assert items[-1]["status"] == "ready"
    assert items[-1]["air"]


@pytest.mark.parametrize("name", UTILITIES)
async def test_utilities_answer(still, name):
    task = {**UTILITIES[name], "taskUUID": str(uuid4())}

    answer = (await still.send(task)).json()

    assert "errors" not in answer
    assert answer["data"][0]["taskUUID"] == task["taskUUID"]
    assert answer["data"][0].get("totalResults", 1) > 0


async def test_an_earlier_task_is_looked_up_and_polled(still):
    items = await outcome(still, PYTHON_RUNS["quick start"])
    uuid = items[0]["taskUUID"]

    details = (await still.send({"taskType": "getTaskDetails", "taskUUID": uuid})).json()["data"][0]

    assert details["response"]["data"] == items
    assert (await still.poll(uuid))["data"] == items


async def test_a_story_is_streamed(still):
    await still.configure(latencies={"text": 0})
    task = {
        "taskType": "textInference",
        "taskUUID": str(uuid4()),
        "model": "google:gemma@4-31b",
        "messages": [{"role": "user", "content": "Tell me a story about a robot"}],
        "deliveryMethod": "stream",
        "includeUsage": True,
        "includeCost": True,
    }

    body = (await still.send(task)).text

    chunks = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: {")]
    assert "robot" in "".join(chunk["delta"].get("text", "") for chunk in chunks)
    assert chunks[-1]["finishReason"] == "stop"
    assert {"usage", "cost"} <= set(chunks[-1])
    assert body.rstrip().endswith("data: [DONE]")


@pytest.mark.parametrize("path", CONTENT)
async def test_catalogue_calls_find_something(still, path):
    response = await still.http.get(f"/content/{path}", headers=HEADERS)

    found = response.json()
    assert response.status_code == 200
    assert found["items"] if "paginate" in path else found
