"""The demo and `up` as somebody runs them in an empty folder: it works, it ends, it leaves nothing running."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
from pathlib import Path

import pytest

from tests.embedded.processes import wait_until

from .commands import Commands

pytestmark = pytest.mark.slow


@pytest.fixture
def commands(tmp_path: Path):
    """Commands in an empty folder; nothing of them is left in the end, whatever a test did."""
    made = Commands(tmp_path)
    yield made
    made.end()
    made.run("down")
    assert made.left() == []


def test_demo_makes_a_contact_sheet_and_leaves_nothing_running(commands, tmp_path):
    done = commands.run("demo", "--quick", "--json")

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["succeeded"], told["total"]) == (8, 8)
    sheet = (tmp_path / "demo-output" / "index.html").read_text()
    files = [job["file"] for job in told["jobs"] if job["file"]]
    assert len(files) == 7
    for file in files:
        assert (tmp_path / file).stat().st_size > 1000
        assert f'"{Path(file).name}"' in sheet
    assert "http://" not in sheet
    assert "\x1b" not in done.stderr
    assert commands.left() == []


def test_ctrl_c_ends_a_demo_with_130_and_leaves_nothing_running(commands):
    demo = commands.start("demo")
    wait_until(lambda: "pictures" in commands.said())

    demo.send_signal(signal.SIGINT)

    # Each of its processes has a grace of 15 s, which a loaded machine may need.
    assert demo.wait(60) == 130, commands.said()
    assert "nothing is left running" in commands.said()
    assert "Traceback" not in commands.said()
    assert commands.left() == []


def test_a_killed_demo_leaves_nothing_running(commands):
    demo = commands.start("demo")
    wait_until(lambda: "pictures" in commands.said())

    demo.kill()
    demo.wait(30)

    assert commands.left() == []


def test_a_demo_beside_a_running_up_keeps_its_jobs_to_itself(commands):
    emulator_port, port = unused_port(), unused_port()
    up = commands.start("up", "--speed=20", f"--emulator-port={emulator_port}", f"--port={port}")
    wait_until(lambda: "Ctrl-C stops" in commands.said() or up.poll() is not None)
    assert up.poll() is None, commands.said()

    again = commands.run("up")
    demo = commands.run("demo", "--quick", "--json")
    mine = commands.run("run", "a lighthouse", "--model", "runware:400@1", "--size", "256x256", "--json")
    listed = commands.run("jobs", "list", "--json")
    up.send_signal(signal.SIGINT)

    assert (again.returncode, f"127.0.0.1:{port}" in again.stderr) == (1, True), again.stderr
    assert demo.returncode == 0, demo.stderr
    assert mine.returncode == 0, mine.stderr
    assert [job["id"] for job in json.loads(listed.stdout)] == [json.loads(mine.stdout)["id"]]
    assert f":{emulator_port}/" in json.loads(mine.stdout)["results"][0]["imageURL"]
    assert up.wait(30) == 0, commands.said()
    assert commands.left() == []


def test_a_demo_whose_port_is_taken_takes_another(commands):
    with socket.socket() as taken, contextlib.suppress(OSError):
        # Refused when another demo has it at this moment: then it is taken all the same.
        taken.bind(("127.0.0.1", 9400))
        taken.listen()
        demo = commands.run("demo", "--quick")

        assert demo.returncode == 0, demo.stderr
        assert "127.0.0.1:9400" not in demo.stdout
    assert commands.left() == []


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
