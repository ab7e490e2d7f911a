"""Receivers in real workers: in every pool, again after a kill, and none that is silently not there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.end_to_end.test_refused_start import refusal
from tests.support.polling import poll_until
from tests.support.worker_process import running_worker, start_worker

if TYPE_CHECKING:
    from runware_jobs import Jobs

pytestmark = pytest.mark.slow

GUIDE = Path(__file__).resolve().parents[2] / "docs/signals.md"
IMAGE = {"model": "runware:400@1", "positivePrompt": "a lighthouse at dusk", "width": 512, "height": 512}

NOTES = """
import json, os, pathlib, signal
from runware_jobs.signals import on_result, on_state

FILE = pathlib.Path({path!r})

def note(kind, job, event):
    with FILE.open("a") as file:
        file.write(json.dumps([kind, job["id"], event["type"], event["id"], os.getpid()]) + "\\n")

@on_state.connect
def state(job, event, **_):
    note("state", job, event)

@on_result.connect
async def result(job, event, **_):
    note("result", job, event)

on_state.connect(lambda **_: None)
"""

DIES = """
FIRST = FILE.with_suffix(".killed")

@on_state.connect
def die(job, event, **_):
    if event["type"] == "job.succeeded" and not FIRST.exists():
        FIRST.touch()
        os.kill(os.getpid(), signal.SIGKILL)
"""


def told(environment: dict[str, str], folder: Path, code: str) -> dict[str, str]:
    """Write the module of receivers and name it."""
    (folder / "noting_receivers.py").write_text(code.format(path=str(folder / "notes.jsonl")))
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return environment | {"RUNWARE_JOBS_IMPORTS": "noting_receivers", "PYTHONPATH": path}


def notes_of(folder: Path) -> list[list[Any]]:
    file = folder / "notes.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.parametrize("pool", ["threads", "prefork", "solo"])
def test_receivers_hear_in_every_pool_in_the_process_that_works(
    pool: str, environment: dict[str, str], jobs: Jobs, tmp_path: Path
) -> None:
    told_to = told(environment, tmp_path, NOTES)
    with running_worker(told_to, log=tmp_path / "worker.log", pool=pool) as worker:
        job = jobs.enqueue(IMAGE).wait(60)
        notes = poll_until(
            lambda: [*notes_of(tmp_path)] if len(notes_of(tmp_path)) >= 4 else None, what="all was heard"
        )
        said = worker.log.read_text()

    assert [note[2] for note in notes] == ["job.queued", "job.submitted", "job.result", "job.succeeded"]
    assert {note[1] for note in notes} == {job.id}
    assert (worker.process.pid in {note[4] for note in notes}) == (pool != "prefork")
    assert "receivers_gone" in said  # the lambda
    assert "never awaited" not in said


def test_event_whose_receiver_did_not_live_to_the_mark_is_told_again(
    environment: dict[str, str], jobs: Jobs, tmp_path: Path
) -> None:
    told_to = told(environment, tmp_path, NOTES + DIES)
    first = start_worker(told_to, log=tmp_path / "first.log")
    try:
        first.wait_until_ready()
        job = jobs.enqueue(IMAGE).wait(60)
        poll_until(lambda: first.process.poll() is not None, what="the worker killed")
    finally:
        if first.process.poll() is None:
            first.kill()
    before = notes_of(tmp_path)
    with running_worker(told_to | {"RUNWARE_JOBS_LEASE_S": "4"}, log=tmp_path / "second.log"):

        def again() -> list[list[Any]] | None:
            ends = [note for note in notes_of(tmp_path) if note[2] == "job.succeeded"]
            return ends if len(ends) >= 2 else None

        ends = poll_until(again, what="told again", within_s=90)

    assert [note[2] for note in before] == ["job.queued", "job.submitted", "job.result", "job.succeeded"]
    assert {note[1] for note in ends} == {job.id}
    assert len({note[3] for note in ends}) == 1  # one event, by its id
    assert len({note[4] for note in ends}) == 2


@pytest.mark.parametrize(
    ("label", "module", "code", "reason"),
    [
        ("not there", "no_such_receivers", None, "ModuleNotFoundError"),
        ("an error in it", "broken_receivers", "import json\n1 / 0\n", "ZeroDivisionError"),
        ("no Python", "garbled_receivers", "def :\n", "SyntaxError"),
    ],
)
def test_module_that_cannot_be_imported_stops_the_worker_with_its_name(
    label: str, module: str, code: str | None, reason: str, environment: dict[str, str], tmp_path: Path
) -> None:
    if code is not None:
        (tmp_path / f"{module}.py").write_text(code)
    said = refusal(environment | {"RUNWARE_JOBS_IMPORTS": module, "PYTHONPATH": str(tmp_path)})

    assert "RUNWARE_JOBS_IMPORTS" in said
    assert module in said
    assert reason in said


def test_code_of_the_guide_is_what_a_worker_imports(tmp_path: Path) -> None:
    module, *more = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    check = """
from runware_jobs.signals import SIGNALS, lost_receivers, wanted_signals
assert wanted_signals() == ["on_result", "on_progress", "on_state"], wanted_signals()
assert not lost_receivers()
job = {"id": "j", "error": {"code": "safety"}}
for name, data in (("on_result", {"result": {"imageURL": "u"}}), ("on_progress", {"progress": 40}), ("on_state", {})):
    for _, call in SIGNALS[name].calls(None):
        call(job, {"type": "job.failed", "data": data})
"""
    (tmp_path / "guide.py").write_text("\n".join([module, *more, check]))
    ran = subprocess.run(
        [sys.executable, tmp_path / "guide.py"], capture_output=True, text=True, timeout=60, check=False
    )

    assert ran.stderr == ""
    assert ran.stdout.splitlines() == ["j u", "j", "j 40 %", "j safety"]
