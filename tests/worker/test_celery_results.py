"""Our result backend as an application uses it, against a database with jobs and results in it."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

import psycopg
import pytest
from celery import Celery, group, states
from celery.exceptions import TaskRevokedError
from celery.exceptions import TimeoutError as NotInTime
from celery.result import AsyncResult, GroupResult

from runware_jobs.errors import JobFailed
from runware_jobs.store.database import open_engine
from runware_jobs.worker.celery_results import ResultBackend, address
from tests.support.queued import enqueue_jobs, register_worker


@pytest.fixture
def app(clean_database):
    made = Celery("user", backend=f"runware_jobs+{clean_database}", broker="memory://", set_as_current=False)
    yield made
    made.close()


@pytest.fixture
def job_id(clean_database):
    async def add():
        engine = open_engine(clean_database, pool_size=1)
        async with engine.begin() as connection:
            await register_worker(connection)
            [added] = await enqueue_jobs(connection)
        await engine.dispose()
        return str(added)

    return asyncio.run(add())


def change(url, job_id, **values):
    with psycopg.connect(url) as connection:
        for name, value in values.items():
            connection.execute(f"UPDATE runware_jobs.job SET {name} = {value} WHERE id = %s", [job_id])


@pytest.mark.parametrize(
    ("label", "values", "state", "result"),
    [
        ("queued", {}, "PENDING", None),
        ("submitting", {"state": "'submitting'"}, "STARTED", None),
        ("running", {"state": "'running'"}, "STARTED", None),
        ("running, with progress", {"state": "'running'", "progress": "40"}, "PROGRESS", {"progress": 40}),
        ("succeeded", {"state, finished_at": "row('succeeded', now())"}, "SUCCESS", []),
    ],
)
def test_state_is_that_of_the_job(app, job_id, clean_database, label, values, state, result):
    for name, value in values.items():
        change(clean_database, job_id, **{f"({name})" if "," in name else name: value})
    seen = AsyncResult(job_id, app=app)

    assert (seen.state, seen.info) == (state, result)


def test_failure_carries_the_error_of_the_job(app, job_id, clean_database):
    error = '{"code": "safety", "message": "refused", "parameter": "positivePrompt", "retryable": false}'
    change(
        clean_database, job_id, **{"(state, finished_at, error)": f"row('failed', now(), '{error}'::jsonb)"}
    )
    with pytest.raises(JobFailed, match="refused") as failed:
        AsyncResult(job_id, app=app).get(timeout=1)

    told = failed.value
    assert (told.code, told.parameter, told.retryable, told.job_id) == (
        "safety",
        "positivePrompt",
        False,
        job_id,
    )
    again = app.backend.exception_to_python(app.backend.prepare_exception(told))
    assert (type(again), again.args) == (type(told), told.args)


def test_cancel_is_a_revoke(app, job_id, clean_database):
    change(clean_database, job_id, **{"(state, finished_at)": "row('canceled', now())"})
    with pytest.raises(TaskRevokedError):
        AsyncResult(job_id, app=app).get(timeout=1)


def test_wait_ends_when_its_time_is_over_and_is_not_busy(app, job_id):
    looks = []
    asked = app.backend._read
    app.backend._read = lambda ids: looks.append(1) or asked(ids)
    began = time.monotonic()
    with pytest.raises(NotInTime):
        AsyncResult(job_id, app=app).get(timeout=0.3, interval=0.1)
    with pytest.raises(NotInTime):
        GroupResult("g", [AsyncResult(job_id, app=app)], app=app).get(timeout=0.3, interval=0.1)

    assert time.monotonic() - began >= 0.6
    assert len(looks) <= 12


def test_results_of_own_tasks_are_kept_and_forgotten(app):
    task_id = str(uuid4())
    app.backend.store_result(task_id, {"a": 1}, states.SUCCESS)
    kept = AsyncResult(task_id, app=app).get(timeout=1)
    AsyncResult(task_id, app=app).forget()

    assert kept == {"a": 1}
    assert AsyncResult(task_id, app=app).state == "PENDING"


def test_group_is_saved_and_restored_with_what_its_tasks_gave(app):
    ids = [str(uuid4()) for _ in range(3)]
    GroupResult("g", [AsyncResult(one, app=app) for one in ids], app=app).save(backend=app.backend)
    for number, one in enumerate(reversed(ids)):
        app.backend.store_result(one, number, states.SUCCESS)
    restored = GroupResult.restore("g", backend=app.backend, app=app)
    gave = restored.get(timeout=1)
    restored.delete(backend=app.backend)

    assert gave == [2, 1, 0]
    assert GroupResult.restore("g", backend=app.backend, app=app) is None


def test_backend_without_a_database_uses_that_of_the_settings(app, job_id, clean_database, monkeypatch):
    monkeypatch.setenv("RUNWARE_JOBS_DATABASE_URL", clean_database)
    monkeypatch.setenv("RUNWARE_JOBS_BROKER_URL", "redis://127.0.0.1:1/0")
    bare = Celery("bare", backend="runware_jobs://", broker="memory://", set_as_current=False)

    assert isinstance(bare.backend, ResultBackend)
    assert bare.backend.get_task_meta(job_id)["status"] == "PENDING"


def test_every_task_takes_the_queue_of_its_own_application_along(app):
    app.conf.task_default_queue = "pictures"
    other = Celery("other", broker="memory://", set_as_current=False)
    other.conf.task_routes = {"other.*": "others"}
    theirs, named = other.signature("other.b"), app.signature("own.a", queue="named")
    canvas = group([app.signature("own.a") | theirs, named])
    address(canvas, app)
    [chained, kept] = canvas.tasks

    assert [task.options["queue"] for task in chained.tasks] == ["pictures", "others"]
    assert kept.options["queue"] == "named"
