"""Both sides of what the sources leave open can be chosen, at start and while it runs."""

from __future__ import annotations

import dataclasses

import httpx
import pytest
import websockets

from runware_jobs.emulator.switches import (
    ConfigError,
    Switches,
    changed_switches,
    parse_switches,
    switch_table,
)
from tests.emulator.conftest import HEADERS
from tests.emulator.hooks import hook
from tests.emulator.sample_tasks import image, training, video
from tests.emulator.sockets import ask, configure, connected, heard, socket_url, tell

OPEN_QUESTIONS = {*(f"15.{number}" for number in range(1, 10)), *(f"17.{number}" for number in range(1, 13))}


def test_every_contradiction_and_unknown_has_a_switch():
    sources = {row["source"].removeprefix("PROTOCOL ") for row in switch_table()}

    assert sources >= OPEN_QUESTIONS


def test_every_switch_says_what_it_chooses():
    rows = switch_table()

    assert [row["name"] for row in rows] == [one.name for one in dataclasses.fields(Switches)]
    assert all(row["what"] and row["choices"] for row in rows)
    assert changed_switches(Switches(), {row["name"]: row["default"] for row in rows}) == Switches()


async def test_switches_are_listed_with_their_present_value(still):
    await still.configure(switches={"failure_form": "A"})

    rows = {row["name"]: row for row in (await still.http.get("/_emulator/switches")).json()}

    assert (rows["failure_form"]["default"], rows["failure_form"]["value"]) == ("B", "A")
    assert rows["failure_form"]["source"] == "PROTOCOL 15.1"


def test_words_become_values():
    words = ["failure_form=A", "partial_status=400", "slugs=false", "idle_close_s=0.5", "max_tasks=null"]

    expected = {
        "failure_form": "A",
        "partial_status": 400,
        "slugs": False,
        "idle_close_s": 0.5,
        "max_tasks": None,
    }
    assert parse_switches(words) == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("failure_form", "NAME=VALUE"),
        ("colour=red", "switches.colour: unknown"),
        ("failure_form=C", "one of A, B"),
        ("partial_status=207", "one of 200, 400"),
        ("slugs=maybe", "true or false"),
        ("retention_s=-1", "0 or more"),
        ("max_tasks=1.5", "a whole number"),
        ("retention_s=null", "0 or more"),
    ],
)
def test_a_wrong_word_is_refused_by_name(words, said):
    with pytest.raises(ConfigError, match=said):
        parse_switches([words])


# --- getResponse ---


async def test_poll_task_type(still):
    task = image()
    await still.send(task)
    await still.configure(switches={"poll_task_type": "getResponse", "running_status": "pending"})

    item = (await still.poll(task["taskUUID"]))["data"][0]

    assert (item["taskType"], item["status"]) == ("getResponse", "pending")


async def test_multi_poll_off_answers_the_first(still):
    tasks = [image(), image()]
    await still.send(*tasks)
    await still.configure(switches={"multi_poll": False})

    answer = await still.poll(*(task["taskUUID"] for task in tasks))

    assert [item["taskUUID"] for item in answer["data"]] == [tasks[0]["taskUUID"]]
    assert [error["taskUUID"] for error in answer["errors"]] == [tasks[1]["taskUUID"]]


async def test_a_task_with_a_webhook_may_not_be_pollable(still):
    task = image(webhookURL="http://127.0.0.1:9/hook")
    await still.send(task)
    before = await still.poll(task["taskUUID"])
    await still.configure(switches={"webhook_poll": False})

    assert len(before["data"]) == 1
    assert await still.poll(task["taskUUID"]) == {"data": []}


# --- duplicates ---


async def test_a_failed_tasks_uuid_may_be_free_again(still):
    await still.fault({"count": 1, "action": "item_error"})
    await still.configure(switches={"conflict_after_failure": False})
    task = image()
    await still.send(task)
    running = await still.send(task)
    still.pass_time(2)
    failed = await still.send(task)

    assert (running.status_code, failed.status_code) == (400, 200)


@pytest.mark.parametrize(
    ("scope", "taken"),
    [("platform", [True, True, True]), ("organisation", [True, True, False]), ("key", [True, False, False])],
)
async def test_conflict_scope(still, scope, taken):
    await still.configure(switches={"conflict_scope": scope})

    seen = []
    for key in ("acme.one", "acme.two", "else.one"):
        task = image()
        await still.send(task)
        again = await still.send(task, headers={"Authorization": f"Bearer {key}"})
        seen.append(again.status_code == 400)

    assert seen == taken


async def test_a_duplicate_within_the_lag_is_accepted_and_billed_twice(still):
    await still.configure(switches={"conflict_lag_s": 1})
    task = image()

    quick = [(await still.send(task)).status_code for _ in range(2)]
    still.pass_time(1)
    late = (await still.send(task)).status_code
    still.pass_time(2)
    entry = (await still.http.get(f"/_emulator/ledger/{task['taskUUID']}")).json()

    assert (quick, late) == ([200, 200], 400)
    assert (entry["accepted"], entry["duplicates"]) == (2, 1)
    assert [one["event"] for one in entry["history"]].count("billed") == 2
    assert (await still.http.get("/_emulator/state")).json()["accounts"][0]["held_usd"] == "0.0000"


# --- requests ---


async def test_partial_status(still):
    await still.configure(switches={"partial_status": 400})

    partly = await still.send(image(), image(width=7))
    clean = await still.send(image())

    assert (partly.status_code, clean.status_code) == (400, 200)
    assert len(partly.json()["data"]) == 1


async def test_empty_errors(still):
    await still.configure(switches={"empty_errors": True})

    assert (await still.send(image())).json()["errors"] == []


async def test_largest_message(still):
    await still.configure(switches={"max_tasks": 2})
    many = await still.send(*(image() for _ in range(3)))
    await still.configure(switches={"max_body_bytes": 100})
    large = await still.send(image())

    assert (many.status_code, many.json()["errors"][0]["code"]) == (400, "arrayTooLarge")
    assert (large.status_code, large.json()["errors"][0]["code"]) == (413, "maxRequestSize")


async def test_retry_after_goes_with_every_busy_answer(still):
    await still.configure(switches={"retry_after_s": 3})
    await still.fault({"action": {"kind": "capacity", "running": 1, "queued": 0}})

    statuses = [(await still.send(image())) for _ in range(2)]
    await still.fault({"action": {"kind": "status", "status": 503}})
    busy = await still.send(image())

    assert [(one.status_code, one.headers.get("retry-after")) for one in [*statuses, busy]] == [
        (200, None),
        (429, "3"),
        (503, "3"),
    ]


async def test_payload_authentication_may_answer_no_session(still):
    await still.configure(switches={"rest_session": False})

    answer = await still.send({"taskType": "authentication", "apiKey": "acme.one"}, image(), headers={})

    assert [item["taskType"] for item in answer.json()["data"]] == ["imageInference"]


@pytest.mark.parametrize(
    "way", [{"headers": {**HEADERS, "X-Runware-Dry-Run": "1"}}, {"params": {"dryRun": "1"}}]
)
async def test_a_dry_run_may_be_a_mere_acknowledgement(still, way):
    task = image()
    priced = (await still.send(task, **way)).json()["data"][0]
    await still.configure(switches={"dry_run": "acknowledged"})
    acknowledged = (await still.send(task, **way)).json()["data"][0]
    ledger = await still.ledger()

    assert priced["cost"] > 0
    assert set(acknowledged) == {"taskType", "taskUUID"}
    assert (ledger["totals"]["accepted"], ledger["totals"]["dry_runs"]) == (0, 2)


async def test_dry_run_on_a_socket(live):
    async with connected(live, query="?dryRun=1") as socket:
        answer = await ask(socket, image())

    assert answer["data"][0]["dryRun"] is True


# --- sockets ---


async def test_the_close_code_of_an_idle_socket(live):
    configure(live, switches={"idle_close_s": 0.05, "idle_close_code": 1008})
    async with connected(live) as socket:
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()

    assert closed.value.rcvd.code == 1008


async def test_an_unknown_session_may_be_an_error(live):
    configure(live, switches={"unknown_session": "error"})
    async with websockets.connect(socket_url(live)) as socket:
        login = {"taskType": "authentication", "apiKey": "acme.one", "connectionSessionUUID": "gone"}
        answer = await ask(socket, login)

    assert answer["errors"][0]["code"] == "invalidConnectionSessionUUID"


async def test_async_results_may_be_pushed(live):
    configure(live, switches={"async_push": True})
    task = image()
    async with connected(live) as socket:
        acknowledged = await ask(socket, task)
        result = await heard(socket)

    assert acknowledged["data"] == [{"taskType": "imageInference", "taskUUID": task["taskUUID"]}]
    assert result["data"][0]["imageURL"]


async def test_a_key_may_have_too_many_sockets(live):
    configure(live, switches={"sockets_per_key": 1})
    login = {"taskType": "authentication", "apiKey": "acme.one"}
    async with connected(live), websockets.connect(socket_url(live)) as second:
        refused = await ask(second, login)
        other = await ask(second, {**login, "apiKey": "else.one"})

    assert refused["errors"][0]["code"] == "maxConnectionsExceeded"
    assert other["data"][0]["taskType"] == "authentication"


async def test_pushes_may_go_to_every_socket_of_a_key(live):
    configure(live, switches={"shared_pushes": True})
    task = image(deliveryMethod="sync")
    async with connected(live) as first, connected(live) as second:
        await tell(first, task)
        frames = [await heard(first), await heard(second)]

    assert frames[0] == frames[1]


# --- webhooks ---


@pytest.mark.parametrize(
    ("form", "read"),
    [
        ("flat", lambda body: (body["taskUUID"], body["status"], body["code"])),
        ("errors", lambda body: (body["errors"][0]["taskUUID"], "error", body["errors"][0]["code"])),
        ("item", lambda body: (body["taskUUID"], body["status"], body["error"]["code"])),
    ],
)
async def test_forms_of_a_failed_callback(still, form, read):
    await still.configure(switches={"webhook_failure": form})
    await still.fault("provider_error")
    async with hook() as receiver:
        task = image(webhookURL=receiver.url)
        await still.send(task)
        still.pass_time(2)
        body = await receiver.next_body()

    assert read(body) == (task["taskUUID"], "error", "providerError")


@pytest.mark.parametrize(("follows", "calls"), [(True, 2), (False, 1)])
async def test_callbacks_follow_redirects_or_not(still, follows, calls):
    await still.configure(switches={"webhook_redirects": follows, "webhook_attempts": 1})
    async with hook(307, 204) as receiver:
        await still.send(image(webhookURL=receiver.url))
        still.pass_time(2)
        await still.webhooks.attempted()

    assert len(receiver.bodies) == calls


async def test_a_callback_is_tried_so_often(still):
    await still.configure(switches={"webhook_attempts": 2})
    async with hook(500, 500, 500) as receiver:
        await still.send(image(webhookURL=receiver.url))
        for _ in range(6):
            still.pass_time(10)
            await still.webhooks.attempted()

    assert len(receiver.bodies) == 2


# --- money ---


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
