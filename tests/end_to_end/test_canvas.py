"""Celery's canvas with real workers: chains, groups and chords go on when the job ends.

Beside a worker of ours runs that of a user's application (`canvas_app.py`), on the same
broker and with our result backend.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from celery import Celery, chain, chord, group
from celery.exceptions import ChordError, TaskRevokedError
from celery.result import AsyncResult, GroupResult

from runware_jobs.errors import RunwareJobsError, TaskFailed
from tests.support.polling import poll_until
from tests.support.worker_process import running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runware_jobs import Jobs
    from tests.support.emulator_process import EmulatorProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

IMAGE = {"model": "runware:400@1", "positivePrompt": "a heron", "width": 512, "height": 512}
BAD = {**IMAGE, "apiKey": "sk-not-taken"}
GET_WITHIN_S = 60

FROM_OUR_APP = """
import json
from celery import chain
from runware_jobs.worker import run
from canvas_app import shrink
made = chain(run.s(IMAGE), shrink.s(), run.s(tags=["second"])).apply_async()
print(json.dumps([made.id, made.get(timeout=90)[0]["imageURL"], made.parent.parent.id]))
"""


@pytest.fixture
def user_environment(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the user's processes are told besides; gives the file in which their tasks note things."""
    notes = tmp_path / "notes"
    monkeypatch.setenv("CANVAS_NOTES", str(notes))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    return notes


@pytest.fixture
def app(environment: dict[str, str]) -> Iterator[Celery]:
    """The user's application in the process of a producer: tasks by name, results through our backend."""
    producer = Celery(
        "producer",
        broker=environment["RUNWARE_JOBS_BROKER_URL"],
        backend=f"runware_jobs+{environment['RUNWARE_JOBS_DATABASE_URL']}",
        set_as_current=False,
    )
    producer.conf.task_routes = {"runware_jobs.*": "runware_jobs"}
    yield producer
    with producer.connection_for_write() as connection:
        for queue in ("runware_jobs", "pictures"):
            producer.amqp.queues[queue](connection.default_channel).declare()
            connection.default_channel.queue_purge(queue)
    producer.close()


@contextmanager
def users_worker(tmp_path: Path, *, pool: str = "threads") -> Iterator[None]:
    log = tmp_path / "users.log"
    command = [sys.executable, "-m", "celery", "-A", "canvas_app", "worker", "-P", pool, "-c", "2"]
    with (
        log.open("w") as output,
        subprocess.Popen(
            [*command, "-l", "INFO"], stdout=output, stderr=output, env=os.environ, start_new_session=True
        ) as process,
    ):
        try:
            poll_until(lambda: " ready." in log.read_text(), what="the user's worker", within_s=90)
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # and the children of its pool


def _run(app: Celery, params: Any = IMAGE, **options: Any) -> Any:
    return app.signature("runware_jobs.run", args=[params] if params else [], kwargs=options, app=app)


def _task(app: Celery, name: str, *args: Any) -> Any:
    return app.signature(f"pictures.{name}", args=args, app=app, queue="pictures")


def _notes(file: Path, task: str) -> list[dict[str, Any]]:
    lines = file.read_text().splitlines() if file.exists() else []
    return [note for note in map(json.loads, lines) if note["task"] == task]


def test_chain_goes_from_a_picture_through_pillow_to_a_second_picture(
    user_environment: Path, environment: dict[str, str], jobs: Jobs, tmp_path: Path
) -> None:
    with running_worker(environment, log=tmp_path / "worker.log"), users_worker(tmp_path):
        program = FROM_OUR_APP.replace("IMAGE", repr(IMAGE))
        said = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert said.returncode == 0, said.stderr + (tmp_path / "worker.log").read_text()[-3000:]
    last, url, first = json.loads(said.stdout)
    second = jobs.get(last)

    assert [job.id for job in jobs.list()] == [last, first]  # newest first, each under its id in the chain
    assert (second.tags, second.results[0]["imageURL"]) == (["second"], url)
    [seed] = second.to_dict()["params"]["referenceImages"]
    assert "$input" in seed or seed.startswith("data:image/jpeg")  # what Pillow made of the first


def test_chord_of_a_hundred_jobs_two_at_once_ends_in_a_task_of_the_user(
    user_environment: Path, environment: dict[str, str], app: Celery, jobs: Jobs, tmp_path: Path
) -> None:
    environment = environment | {"RUNWARE_JOBS_MAX_IN_FLIGHT": "2"}
    with (
        running_worker(environment, log=tmp_path / "worker.log"),
        users_worker(tmp_path, pool="prefork"),
    ):
        header = group(
            [_run(app, {**IMAGE, "seed": number}) for number in range(100)] + [_task(app, "word", "last")]
        )
        made = chord(header, app=app)(_task(app, "collect"))
        gave = made.get(timeout=200)

    assert gave == [*range(100), "last"]  # in the order of the header
    # The user's worker has loaded our module, and is no worker of ours for that.
    assert "worker_ready" not in (tmp_path / "users.log").read_text()
    assert len(_notes(user_environment, "collect")) == 1
    assert len(jobs.list(state="succeeded", limit=200)) == 100


def test_group_gives_the_results_of_its_jobs(
    environment: dict[str, str], app: Celery, tmp_path: Path
) -> None:
    with running_worker(environment, log=tmp_path / "worker.log"):
        made = group([_run(app, {**IMAGE, "seed": number}) for number in (7, 8)]).apply_async()
        made.save(backend=app.backend)
        again = GroupResult.restore(made.id, backend=app.backend, app=app)
        gave = again.get(timeout=GET_WITHIN_S)

    assert [[item["seed"] for item in results] for results in gave] == [[7], [8]]


def test_nested_canvases_end(
    user_environment: Path, environment: dict[str, str], app: Celery, tmp_path: Path
) -> None:
    """A chain in a header, a chord in a chain, a group in a chain, and an empty header."""
    with running_worker(environment, log=tmp_path / "worker.log"), users_worker(tmp_path):
        seeds = [{**IMAGE, "seed": number} for number in range(4)]
        collect = _task(app, "collect")
        of_chains = chord([_run(app, one) | collect for one in seeds[:2]], app=app)(collect)
        in_a_chain = chain(_run(app, seeds[3]), chord([collect, collect], _task(app, "word")), app=app)
        upgraded = chain(
            group([_run(app, {**IMAGE, "seed": 5}), _task(app, "word", "w")]), collect, _task(app, "word")
        )
        empty = chord([], app=app)(collect)
        made_of = [of_chains, in_a_chain.apply_async(), upgraded.apply_async(), empty]
        gave = [made.get(timeout=GET_WITHIN_S) for made in made_of]

    assert gave == [[0, 1], [[3], [3]], [5, "w"], []]


def test_what_fails_calls_its_errbacks_and_ends_what_waits_for_it(
    user_environment: Path,
    environment: dict[str, str],
    emulator: EmulatorProcess,
    app: Celery,
    jobs: Jobs,
    tmp_path: Path,
) -> None:
    refused = {**IMAGE, "positivePrompt": "refused"}
    with running_worker(environment, log=tmp_path / "worker.log"), users_worker(tmp_path):
        refusal = {"kind": "refuse", "code": "contentPolicyViolation", "parameter": "positivePrompt"}
        emulator.inject({"on": "submit", "prompt": "refused", "action": refusal})
        sorry = _task(app, "sorry")
        failed = (_run(app, refused) | _task(app, "collect")).apply_async(link_error=sorry)
        never = _run(app, IMAGE, delay_s=3000).apply_async(link_error=sorry)
        wrong = _run(app, BAD).apply_async(link_error=sorry)
        twice = (_run(app) | _run(app)).apply_async(link_error=sorry)
        part = chord([_run(app), _run(app, BAD)], app=app)(_task(app, "collect").on_error(sorry))
        poll_until(lambda: _known(jobs, never.id), what="the job to cancel")
        jobs.get(never.id).cancel()

        with pytest.raises(TaskFailed):
            failed.get(timeout=GET_WITHIN_S)
        with pytest.raises(TaskRevokedError):
            never.get(timeout=GET_WITHIN_S)
        with pytest.raises(RunwareJobsError, match="apiKey"):
            wrong.get(timeout=GET_WITHIN_S)
        with pytest.raises(RunwareJobsError, match=r"\.si\("):
            twice.get(timeout=GET_WITHIN_S)
        with pytest.raises(ChordError, match="apiKey"):
            AsyncResult(part.id, app=app).get(timeout=GET_WITHIN_S)
        expected = {failed.parent.id, never.id, wrong.id, twice.id, part.id}
        poll_until(
            lambda: {note["of"] for note in _notes(user_environment, "sorry")} >= expected,
            what="every errback was called",
        )

    assert {note["of"] for note in _notes(user_environment, "sorry")} == expected
    assert _notes(user_environment, "collect") == []


def test_states_over_the_life_of_a_job_and_the_event_at_its_end(
    environment: dict[str, str], emulator: EmulatorProcess, app: Celery, jobs: Jobs, tmp_path: Path
) -> None:
    task_id = str(uuid4())
    result = AsyncResult(task_id, app=app)
    events: list[tuple[str, str]] = []
    seen = [result.state]
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(
            connection, handlers={"*": lambda event: events.append((event["type"], event.get("uuid", "")))}
        )
        with (
            receiver.consumer_context() as (listening, *_),
            running_worker(environment, log=tmp_path / "worker.log"),
        ):
            _run(app).apply_async(task_id=task_id)

            def look() -> bool:
                seen.append(result.state)
                _drain(listening)
                return ("task-succeeded", task_id) in events

            poll_until(look, what="the event of the job's end")
            gave = result.get(timeout=GET_WITHIN_S)
            unknown = AsyncResult(str(uuid4()), app=app).state

    assert (unknown, seen[0], result.state) == ("PENDING", "PENDING", "SUCCESS")
    assert set(seen) <= {"PENDING", "STARTED", "PROGRESS", "SUCCESS"}
    assert gave == jobs.get(task_id).results
    assert events.count(("task-succeeded", task_id)) == 1


def test_producer_without_our_backend_is_refused_with_the_remedy(
    environment: dict[str, str], app: Celery, jobs: Jobs, tmp_path: Path
) -> None:
    with running_worker(environment, log=tmp_path / "worker.log"):
        part, group_id = _run(app), str(uuid4())
        body = _task(app, "collect")
        body.freeze()
        # What a producer with another backend sends: the chord is registered there, not here.
        made = part.apply_async(chord=body, group_id=group_id)

        with pytest.raises(RunwareJobsError, match=r'result_backend = "runware_jobs\+postgresql://'):
            made.get(timeout=GET_WITHIN_S)
        with pytest.raises(ChordError, match="not registered"):
            AsyncResult(body.id, app=app).get(timeout=GET_WITHIN_S)
        assert jobs.list() == []


def _known(jobs: Jobs, job_id: str) -> bool:
    return job_id in {job.id for job in jobs.list()}


def _drain(connection: Any) -> None:
    try:
        connection.drain_events(timeout=0.05)
    except TimeoutError:
        return
