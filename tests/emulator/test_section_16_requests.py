"""PROTOCOL section 16, lines 1 to 3: requests, polling, and answers that went wrong. One test per clause."""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime
from itertools import pairwise
from uuid import uuid4

import httpx
import pytest

from tests.emulator.conftest import HEADERS
from tests.emulator.sample_tasks import image, training
from tests.emulator.sockets import ask, connected, fault, poll_of

# --- POST /v1 with header or payload auth; GET on it 405; invalid JSON or non-array 400 ---


async def test_line_1_header_authentication(still):
    response = await still.send(image(), headers={"Authorization": "Bearer acme.one"})

    assert response.status_code == 200


async def test_line_1_payload_authentication_answers_a_session_beside_the_tasks(still):
    task = image()

    answer = (
        await still.send({"taskType": "authentication", "apiKey": "acme.one"}, task, headers={})
    ).json()["data"]

    assert [item["taskType"] for item in answer] == ["authentication", "imageInference"]
    assert set(answer[0]) == {"taskType", "connectionSessionUUID"}


async def test_line_1_get_is_405(still):
    response = await still.http.get("/v1", headers=HEADERS)

    assert response.status_code == 405


@pytest.mark.parametrize("body", [b"nonsense", b"{}", b'"text"', b"[7]"])
async def test_line_1_invalid_json_or_no_array_is_400(still, body):
    response = await still.http.post("/v1", content=body, headers=HEADERS)

    assert response.status_code == 400
    assert response.json()["errors"][0]["code"] in {"invalidJSON", "invalidRequest"}


# --- ACK; cumulative getResponse; forms and switches; conflictTaskUUID ---


async def test_line_2_one_ack_item_per_task_whatever_it_makes(still):
    tasks = [image(numberResults=4), training()]

    answer = (await still.send(*tasks)).json()

    expected = [{"taskType": task["taskType"], "taskUUID": task["taskUUID"]} for task in tasks]
    assert answer == {"data": expected}


async def test_line_2_get_response_is_cumulative_in_a_stable_order(still):
    task = image(numberResults=4)
    await still.send(task)

    seen = []
    for _ in range(8):
        still.pass_time(0.25)
        items = (await still.poll(task["taskUUID"]))["data"]
        seen.append([item.get("imageUUID") for item in items])

    assert all(len(uuids) == 4 for uuids in seen)
    for earlier, later in pairwise(seen):
        assert all(after == before for before, after in zip(earlier, later, strict=True) if before)
    assert None not in seen[-1]


async def test_line_2_many_tasks_are_polled_in_one_request(still):
    tasks = [image(numberResults=2) for _ in range(50)]
    await still.send(*tasks)
    still.pass_time(2)

    items = (await still.poll(*(task["taskUUID"] for task in tasks)))["data"]

    assert [item["taskUUID"] for item in items] == [task["taskUUID"] for task in tasks for _ in range(2)]


async def test_line_2_progress_is_shown_for_trainings_only(still):
    slow, quick = training(), image()
    await still.send(slow, quick)
    still.pass_time(1)

    items = (await still.poll(slow["taskUUID"], quick["taskUUID"]))["data"]

    assert ["progress" in item for item in items] == [True, False]


async def test_line_2_result_index_is_optional(still):
    task = image(numberResults=2)
    await still.send(task)

    without = (await still.poll(task["taskUUID"]))["data"]
    await still.configure(switches={"result_index": True})
    with_it = (await still.poll(task["taskUUID"]))["data"]

    assert ["resultIndex" in item for item in without] == [False, False]
    assert [item["resultIndex"] for item in with_it] == [0, 1]


async def test_line_2_failures_come_in_form_a_or_b(still):
    await still.fault({"action": {"kind": "item_error", "items": [1]}})
    task = image(numberResults=2)
    await still.send(task)
    still.pass_time(2)

    form_b = await still.poll(task["taskUUID"])
    await still.configure(switches={"failure_form": "A"})
    form_a = await still.poll(task["taskUUID"])

    assert [item["status"] for item in form_b["data"]] == ["success", "error"]
    assert "errors" not in form_b
    assert [item["status"] for item in form_a["data"]] == ["success"]
    assert form_a["errors"][0]["status"] == "error"


async def test_line_2_an_unknown_uuid_is_empty_data_or_an_error(still):
    nothing = await still.poll(str(uuid4()))
    await still.configure(switches={"unknown_task": "error"})
    error = await still.poll(str(uuid4()))

    assert nothing == {"data": []}
    assert [one["code"] for one in error["errors"]] == ["taskNotFound"]


async def test_line_2_a_conflict_is_400_on_rest(still):
    task = image()
    await still.send(task)

    again = await still.send(task)

    assert again.status_code == 400
    assert again.json()["data"] == []
    assert again.json()["errors"][0]["code"] == "conflictTaskUUID"
    assert again.json()["errors"][0]["context"] == {
        name: task[name] for name in ("taskType", "taskUUID", "deliveryMethod")
    }


async def test_line_2_a_conflict_is_an_errors_frame_on_a_websocket(live):
    task = image()
    async with connected(live) as socket:
        await ask(socket, task)
        frame = await ask(socket, task)

    assert set(frame) == {"errors"}
    assert (frame["errors"][0]["code"], frame["errors"][0]["taskUUID"]) == (
        "conflictTaskUUID",
        task["taskUUID"],
    )


@pytest.mark.parametrize(
    ("window", "taken_at"),
    [
        ({"conflict": "running"}, [True, False, False]),
        ({"conflict": "window", "conflict_window_s": 60}, [True, True, False]),
        ({"conflict": "forever"}, [True, True, True]),
    ],
)
async def test_line_2_the_window_of_conflicts_is_configurable(still, window, taken_at):
    await still.configure(switches=window)
    tasks = [image() for _ in taken_at]
    await still.send(*tasks)

    codes = []
    for task, seconds in zip(tasks, (1, 2, 100), strict=True):
        still.pass_time(seconds)
        codes.append((await still.send(task)).status_code)

    assert [code == 400 for code in codes] == taken_at


# --- data+errors; list-valued parameter; errors without UUID; singular error; HTML; statuses; bodies ---


async def test_line_3_data_and_errors_in_one_body(still):
    good, bad = image(), image(width=7)

    answer = (await still.send(good, bad)).json()

    assert [item["taskUUID"] for item in answer["data"]] == [good["taskUUID"]]
    assert [error["taskUUID"] for error in answer["errors"]] == [bad["taskUUID"]]


async def test_line_3_a_parameter_may_be_a_list(still):
    await still.fault({"action": {"kind": "refuse", "code": "invalidSize", "parameter": ["width", "height"]}})

    error = (await still.send(image())).json()["errors"][0]

    assert error["parameter"] == ["width", "height"]


async def test_line_3_errors_may_lack_the_task_uuid(still):
    await still.fault({"action": {"kind": "error_shape", "shape": "errors", "scoped": False}})

    error = (await still.send(image(width=7))).json()["errors"][0]

    assert error["code"] == "invalidWidth"
    assert not {"taskUUID", "taskType"} & set(error)


@pytest.mark.parametrize(
    ("shape", "read"),
    [
        ("single", lambda body: body["error"]),
        ("list", lambda body: body["error"][0]),
        ("array", lambda body: body[0]["errors"][0]),
    ],
)
async def test_line_3_a_singular_error(still, shape, read):
    await still.fault({"action": {"kind": "error_shape", "shape": shape}})
    task = image(width=7)

    body = (await still.send(task)).json()

    assert (read(body)["code"], read(body)["taskUUID"]) == ("invalidWidth", task["taskUUID"])
    assert "errors" not in body


@pytest.mark.parametrize("status", [502, 503])
async def test_line_3_a_body_that_is_no_json(still, status):
    await still.fault({"action": {"kind": "status", "status": status, "body": "html"}})

    response = await still.send(image())

    assert response.status_code == status
    assert response.headers["content-type"].startswith("text/html")
    with pytest.raises(json.JSONDecodeError):
        response.json()


@pytest.mark.parametrize("status", [429, 503, 504])
@pytest.mark.parametrize(
    ("retry", "seconds"),
    [
        pytest.param({}, None, id="without"),
        pytest.param({"retry_after": 7}, 7, id="seconds"),
        pytest.param({"retry_after": 30, "retry_after_form": "date"}, 30, id="date"),
    ],
)
async def test_line_3_busy_with_and_without_retry_after(still, status, retry, seconds):
    await still.fault({"on": "submit", "action": {"kind": "status", "status": status, **retry}})

    response = await still.send(image())

    header = response.headers.get("retry-after")
    assert response.status_code == status
    if retry.get("retry_after_form") == "date":
        assert parsedate_to_datetime(header).timestamp() == still.clock.time + seconds
    else:
        assert header == (str(seconds) if seconds else None)


def test_line_3_a_slow_body_arrives_in_pieces(live):
    fault(live, {"on": "submit", "action": {"kind": "slow_body", "seconds": 0.2, "pieces": 4}})
    task = image()

    with httpx.stream("POST", f"{live.address}/v1", json=[task], headers=HEADERS) as response:
        pieces = list(response.iter_raw())

    assert len(pieces) >= 2
    assert json.loads(b"".join(pieces))["data"][0]["taskUUID"] == task["taskUUID"]


def test_line_3_a_truncated_body_breaks_off_after_the_task_was_accepted(live):
    fault(live, {"on": "submit", "action": {"kind": "truncate", "part": 0.5}, "count": 1})
    task = image()

    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(f"{live.address}/v1", json=[task], headers=HEADERS)
    polled = httpx.post(f"{live.address}/v1", json=[poll_of(task)], headers=HEADERS).json()

    assert [item["taskUUID"] for item in polled["data"]] == [task["taskUUID"]]
