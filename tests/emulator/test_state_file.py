"""A restart, also after kill -9, keeps every promise that an answer has made."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace
from uuid import uuid4

import httpx
import pytest

from runware_jobs.emulator import Config, Latency, create_app
from runware_jobs.emulator.state import StateFile
from tests.emulator.conftest import HEADERS, StubClock
from tests.emulator.sample_tasks import image, training, video
from tests.emulator.sockets import ask, connected, poll_of

LATENCIES = {"image": Latency(2, 2), "video": Latency(3600, 3600), "training": Latency(7200, 7200)}


@contextmanager
def emulator(state, *arguments):
    """A process with this state file; killed hard at the end."""
    command = [sys.executable, "-m", "runware_jobs.emulator", "--port=0", "--quiet", f"--state={state}"]
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().removeprefix("emulator ready ").strip()
        try:
            yield SimpleNamespace(address=address, process=process)
        finally:
            process.kill()


def post(live, *tasks):
    return httpx.post(f"{live.address}/v1", json=list(tasks), headers=HEADERS).json()


@pytest.mark.slow
def test_what_was_acknowledged_survives_kill_9(tmp_path):
    running, finished = video(), image()
    upload = {
        "taskType": "mediaStorage",
        "taskUUID": str(uuid4()),
        "operation": "upload",
        "media": "aGVsbG8=",
    }
    with emulator(tmp_path / "state.db", "--latency=image=0,video=3600") as first:
        answer = post(first, running, finished, upload, running)
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
    with emulator(tmp_path / "state.db") as second:
        polled = post(second, poll_of(running), poll_of(finished))["data"]
        again = post(second, running)["errors"][0]
        ledger = httpx.get(f"{second.address}/_emulator/ledger").json()
        body = httpx.get(f"{second.address}/assets/upload/{answer['data'][-1]['mediaUUID']}.bin").content
        entry = httpx.get(f"{second.address}/_emulator/ledger/{running['taskUUID']}").json()

    assert [item["status"] for item in polled] == ["processing", "success"]
    assert again["code"] == "conflictTaskUUID"
    assert body == b"hello"
    assert [ledger["totals"][name] for name in ("accepted", "duplicates")] == [2, 2]
    assert [one["event"] for one in entry["history"]] == ["accepted", "duplicate", "duplicate"]


@pytest.mark.slow
async def test_what_was_acknowledged_on_a_socket_survives_kill_9(tmp_path):
    task = video()
    with emulator(tmp_path / "state.db", "--latency=video=3600") as first:
        async with connected(first) as socket:
            acknowledged = await ask(socket, task)
            first.process.send_signal(signal.SIGKILL)
            first.process.wait()
    with emulator(tmp_path / "state.db") as second:
        polled = post(second, poll_of(task))["data"]

    assert acknowledged["data"][0]["taskUUID"] == task["taskUUID"]
    assert polled[0]["status"] == "processing"


@contextmanager
def opened(path, clock):
    """A platform filled from the file, without a server; its file is closed without a last save."""
    app = create_app(Config(latencies=LATENCIES), clock=clock)
    state_file = StateFile(path)
    state_file.load(app.state.platform)
    app.state.platform.save = lambda: state_file.save_promises(app.state.platform)
    yield app
    state_file.close()


def client(app):
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://emulator.test", headers=HEADERS
    )


async def test_what_ends_while_it_is_down_is_billed_once_afterwards(tmp_path):
    clock, task = StubClock(), image(numberResults=3)
    with opened(tmp_path / "state.db", clock) as app:
        async with client(app) as http:
            await http.post("/v1", json=[task])
            held = (await http.get("/_emulator/state")).json()["accounts"][0]
    clock.time += 100
    for _ in range(2):
        with opened(tmp_path / "state.db", clock) as app:
            async with client(app) as http:
                polled = (await http.post("/v1", json=[poll_of(task)])).json()["data"]
                after = (await http.get("/_emulator/state")).json()["accounts"][0]

    assert [item["status"] for item in polled] == ["success"] * 3
    assert float(held["held_usd"]) == float(after["billed_usd"]) > 0
    assert float(held["balance_usd"]) - float(after["balance_usd"]) == pytest.approx(
        float(after["billed_usd"])
    )
    assert after["held_usd"] == "0.0000"


async def test_archive_failures_and_trained_models_come_back(tmp_path):
    clock, failed, trained = StubClock(), image(), training()
    with opened(tmp_path / "state.db", clock) as app:
        async with client(app) as http:
            await http.post(
                "/_emulator/faults", json={"taskType": "imageInference", "action": "provider_error"}
            )
            await http.post("/v1", json=[failed, trained])
            await http.post("/v1", json=[failed])
            clock.time += 7200
            await http.post("/v1", json=[poll_of(failed), poll_of(trained)])
    with opened(tmp_path / "state.db", clock) as app:
        async with client(app) as http:
            polled = (await http.post("/v1", json=[poll_of(failed)])).json()["data"]
            details = {"taskType": "getTaskDetails", "taskUUID": failed["taskUUID"]}
            archived = (await http.post("/v1", json=[details])).json()["data"][0]["response"]
            search = {"taskType": "modelSearch", "taskUUID": str(uuid4()), "search": "watercolour"}
            found = (await http.post("/v1", json=[search])).json()["data"][0]["results"]

    assert polled[0]["error"]["code"] == "providerError"
    assert archived["errors"][0]["code"] == "conflictTaskUUID"
    assert [model["air"] for model in found] == ["acme:watercolour@1"]


async def test_a_reset_empties_the_file_too(tmp_path):
    clock, task = StubClock(), image()
    config = Config(state_path=tmp_path / "state.db", latencies=LATENCIES)
    app = create_app(config, clock=clock)
    async with app.router.lifespan_context(app), client(app) as http:
        await http.post("/v1", json=[task])
        await http.post("/_emulator/reset")
    with opened(tmp_path / "state.db", clock) as copy:
        ledger = copy.state.platform.ledger.to_json()

    assert ledger["tasks"] == {}


async def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "state.db"
    path.write_text(json.dumps({"not": "ours"}) * 200)
    command = [sys.executable, "-m", "runware_jobs.emulator", "--port=0", f"--state={path}"]

    finished = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert finished.returncode == 1
    assert "state.db" in finished.stderr
    assert "Traceback" not in finished.stderr
