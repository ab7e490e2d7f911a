"""The process around the platform: command line, state file, webhooks, streams, schemas and the page."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from runware_jobs.emulator import Config, create_app, serving
from runware_jobs.emulator.faults.actions import ACTIONS, READY_MADE
from runware_jobs.emulator.latencies import Latency, parse_latencies
from runware_jobs.emulator.state import StateFile
from runware_jobs.emulator.switches import ConfigError, Switches
from tests.emulator.conftest import HEADERS, StubClock
from tests.emulator.sample_tasks import image, video


def started(*arguments):
    command = [sys.executable, "-m", "runware_jobs.emulator", "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    return process, line.removeprefix("emulator ready ").strip()


@pytest.mark.slow
def test_the_command_says_where_it_listens_and_ends_quietly(tmp_path):
    ready_file = tmp_path / "ready"
    process, address = started(
        "--ready-file", str(ready_file), "--fault", '{"on": "submit", "action": "stuck"}'
    )
    with process:
        rules = httpx.get(f"{address}/_emulator/faults").json()
        process.send_signal(signal.SIGTERM)
        _, banner = process.communicate(timeout=10)

    assert process.returncode == 0
    assert ready_file.read_text().strip() == address
    assert rules[0]["action"]["kind"] == "stuck"
    assert "Runware emulator" in banner


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fault", "{"], "not JSON"),
        (["--fault", '{"action": "explode"}'], "action.kind"),
        (["--latency", "image"], "NAME=SECONDS"),
        (["--latency", "image=~0-3"], "lognormal"),
        (["--switch", "failure_form=C"], "one of A, B"),
        (["--switch", "colour=red"], "colour"),
        (["fault", '{"action": "stuck"}', "--at", "http://127.0.0.1:9"], "does not answer"),
        (["--speed", "0"], "speed"),
        (["--balance", "much"], "balance"),
    ],
)
def test_wrong_use_is_one_readable_line(arguments, words):
    command = [sys.executable, "-m", "runware_jobs.emulator", *arguments]

    finished = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    assert finished.returncode == (1 if "does not answer" in words else 2)
    assert words in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.slow
def test_switches_and_faults_are_set_by_command(tmp_path):
    def fault(*words):
        command = [sys.executable, "-m", "runware_jobs.emulator", "fault", "--at", address, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    process, address = started("--switch", "failure_form=A", "--switch", "max_tasks=7", "--fault", "overload")
    with process:
        switches = httpx.get(f"{address}/_emulator/config").json()["switches"]
        added = fault("no_credits", '{"action": "lost", "rate": 0.01}')
        wrong = fault('{"rate": 2, "action": "lost"}')
        cleared = fault("--clear")
        process.terminate()
        process.communicate(timeout=10)

    assert (switches["failure_form"], switches["max_tasks"]) == ("A", 7)
    assert [rule["action"]["kind"] for rule in json.loads(added[1])] == ["status", "refuse", "lost"]
    assert (wrong[0], "rate: must be between 0 and 1" in wrong[1]) == (2, True)
    assert (cleared[0], json.loads(cleared[1])) == (0, [])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flag", "names"),
    [
        ("--list-switches", [one.name for one in dataclasses.fields(Switches)]),
        ("--list-faults", [*ACTIONS, *READY_MADE]),
    ],
)
def test_everything_that_can_be_set_is_listed(flag, names):
    command = [sys.executable, "-m", "runware_jobs.emulator", flag]

    listed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

    assert [name for name in names if f"\n{name}" not in f"\n{listed}"] == []


def test_a_taken_port_is_reported():
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(RuntimeError, match="could not start"),
        serving(Config(port=taken.getsockname()[1])),
    ):
        pass


def test_a_restart_keeps_tasks_uploads_and_money(tmp_path):
    config = Config(
        port=0,
        state_path=tmp_path / "state.db",
        latencies={"video": Latency(3600, 3600), "image": Latency(0, 0)},
    )
    done, running = image(), video()
    upload = {"taskType": "mediaStorage", "taskUUID": str(uuid4()), "operation": "upload"}
    upload["media"] = "aGVsbG8="
    polls = [{"taskType": "getResponse", "taskUUID": task["taskUUID"]} for task in (done, running)]
    with serving(config) as first:
        answer = httpx.post(f"{first.address}/v1", json=[done, running, upload], headers=HEADERS).json()
        before = httpx.post(f"{first.address}/v1", json=polls, headers=HEADERS).json()
        ledger_before = httpx.get(f"{first.address}/_emulator/ledger").json()

    with serving(config) as second:
        after = httpx.post(f"{second.address}/v1", json=polls, headers=HEADERS).json()
        again = httpx.post(f"{second.address}/v1", json=[running], headers=HEADERS).json()
        ledger = httpx.get(f"{second.address}/_emulator/ledger").json()
        uuid = answer["data"][-1]["mediaUUID"]
        body = httpx.get(f"{second.address}/assets/upload/{uuid}.bin").content

    assert before == after
    assert [item["status"] for item in after["data"]] == ["success", "processing"]
    assert again["errors"][0]["code"] == "conflictTaskUUID"
    assert ledger["totals"]["billed_usd"] == ledger_before["totals"]["billed_usd"]
    assert ledger["tasks"][running["taskUUID"]]["submits"] == 2
    assert body == b"hello"


async def test_a_reset_does_not_stop_the_saving(tmp_path):
    clock = StubClock()
    config = Config(state_path=tmp_path / "state.db")
    app, task = create_app(config, clock=clock), image()
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://emulator.test") as http,
    ):
        await http.post("/_emulator/reset")
        await http.post("/v1", json=[task], headers=HEADERS)
        clock.time += 1
        app.state.platform.schedule.run_due()
        copy = create_app(config).state.platform
        state_file = StateFile(tmp_path / "state.db")
        state_file.load(copy)
        state_file.close()

    assert list(copy.tasks) == [task["taskUUID"]]


@pytest.mark.parametrize("shape", ["flat", "wrapped"])
async def test_a_webhook_is_called_per_item_until_it_says_yes(live, shape):
    httpx.post(f"{live.address}/_emulator/config", json={"switches": {"webhook_body": shape}})
    calls: asyncio.Queue[dict] = asyncio.Queue()
    refusals = iter([500])

    async def receive(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].split("\r\n")[0])
        calls.put_nowait(json.loads(await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 %d x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % next(refusals, 204))
        await writer.drain()
        writer.close()

    receiver = await asyncio.start_server(receive, "127.0.0.1", 0)
    async with receiver, httpx.AsyncClient(base_url=live.address, headers=HEADERS) as http:
        url = f"http://127.0.0.1:{receiver.sockets[0].getsockname()[1]}/hook"
        task = image(numberResults=2, webhookURL=url)
        del task["deliveryMethod"]
        acknowledged = (await http.post("/v1", json=[task])).json()
        received = [await asyncio.wait_for(calls.get(), 10) for _ in range(3)]

    items = [body["data"][0] if shape == "wrapped" else body for body in received]
    assert acknowledged == {"data": [{"taskType": "imageInference", "taskUUID": task["taskUUID"]}]}
    assert len({item["imageUUID"] for item in items}) == 2
    assert {"success"} == {item["status"] for item in items}


def test_a_text_task_streams_until_done(live):
    task = {
        "taskType": "textInference",
        "taskUUID": str(uuid4()),
        "model": "acme:text@1",
        "includeUsage": True,
    }
    task |= {"messages": [{"role": "user", "content": "hello there"}], "deliveryMethod": "stream"}

    with httpx.stream("POST", f"{live.address}/v1", json=[task], headers=HEADERS) as response:
        lines = [line for line in response.iter_lines() if line]

    chunks = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    assert response.headers["content-type"].startswith("text/event-stream")
    assert lines[-1] == "data: [DONE]"
    assert any(line.startswith(":") for line in lines)
    assert "“hello there”" in "".join(chunk["delta"].get("text", "") for chunk in chunks)
    assert (chunks[-1]["finishReason"], chunks[-1]["usage"]["totalTokens"] > 0) == ("stop", True)


def test_a_sync_task_beyond_the_window_times_out_and_goes_on(live):
    httpx.post(
        f"{live.address}/_emulator/config",
        json={"switches": {"sync_window_s": 0.01}, "latencies": {"image": 100}},
    )
    task = image(deliveryMethod="sync")

    response = httpx.post(f"{live.address}/v1", json=[task], headers=HEADERS)
    poll = [{"taskType": "getResponse", "taskUUID": task["taskUUID"]}]
    later = httpx.post(f"{live.address}/v1", json=poll, headers=HEADERS).json()

    assert (response.status_code, response.json()["errors"][0]["code"]) == (504, "timeout")
    assert later["data"][0]["status"] in {"processing", "success"}


async def test_the_registry_has_an_etag(still):
    first = await still.http.get("/schemas/registry.json")
    again = await still.http.get("/schemas/registry.json", headers={"If-None-Match": first.headers["etag"]})
    models = (await still.http.get("/content/models", params={"paginate": "true", "limit": 3})).json()

    assert first.json()["models"]
    assert (again.status_code, again.content) == (304, b"")
    assert models["total"] >= len(models["items"]) == 3


def test_it_works_without_a_registry_file(tmp_path):
    with serving(Config(port=0, registry_path=tmp_path / "none.json")) as running:
        models = httpx.get(f"{running.address}/content/models").json()

    assert "runware:400@1" in {model["air"] for model in models}


async def test_the_page_asks_nobody_else(still):
    parts = [await still.http.get(f"/_emulator/{name}") for name in ("", "page.css", "page.js")]

    assert [part.status_code for part in parts] == [200, 200, 200]
    assert not any(address in part.text for part in parts for address in ("http://", "https://"))


async def test_the_page_shows_what_happened_last(still):
    await still.fault("overload")
    await still.send(image())
    await still.http.delete("/_emulator/faults")
    task = image()
    await still.send(task)
    still.pass_time(2)

    recent = (await still.http.get("/_emulator/recent?limit=2")).json()

    assert [(one["event"], one["taskUUID"]) for one in recent["events"]] == [
        ("billed", task["taskUUID"]),
        ("accepted", task["taskUUID"]),
    ]
    assert [one["outcome"] for one in recent["requests"]] == ["answered", "refused 503"]


def test_latencies_read_from_words_or_json():
    expected = {"image": Latency(0.2, 0.2), "video": Latency(1, 2), "audio": Latency(3, 20, "lognormal")}
    audio = '{"distribution": "lognormal", "min_s": 3, "max_s": 20}'

    assert parse_latencies("image=0.2, video=1-2, audio=~3-20") == expected
    assert parse_latencies(f'{{"image": 0.2, "video": [1, 2], "audio": {audio}}}') == expected
    with pytest.raises(ConfigError, match="image"):
        parse_latencies("image=3-1")


def test_it_imports_nothing_else_of_the_project():
    code = "import sys, runware_jobs.emulator.cli; print([m for m in sys.modules if m.startswith('runware_jobs.')])"
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}

    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )

    others = [
        name
        for name in json.loads(loaded.stdout.replace("'", '"'))
        if not name.startswith("runware_jobs.emulator")
    ]
    assert others == []
