"""A worker that dies between publishing what follows a job and marking it: the same message again, never none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import redis
from celery import Celery
from kombu import Queue
from sqlalchemy import make_url

from runware_jobs import Jobs, Settings
from tests.support.own_broker import own_broker
from tests.support.polling import poll_until
from tests.support.relay import LoopThread, Relay, Upstream
from tests.support.rows import change_rows
from tests.support.speech import PostgresAnswers, PostgresRequests
from tests.support.traps import Moment, Strike, Traps
from tests.support.worker_process import running_worker, start_worker

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

IMAGE = {"model": "runware:400@1", "positivePrompt": "a heron", "width": 512, "height": 512}
QUEUE = Queue("canvas_crash")


async def test_what_follows_leaves_again_under_the_same_ids(
    environment: dict[str, str], jobs: Jobs, engine: AsyncEngine, tmp_path: Path
) -> None:
    broker = environment["RUNWARE_JOBS_BROKER_URL"]
    app = Celery("asking", broker=broker, set_as_current=False)
    tell = app.signature("pictures.tell", queue=QUEUE.name, app=app)
    url = make_url(environment["RUNWARE_JOBS_DATABASE_URL"])
    place = (
        Upstream(path=f"{url.query['host']}/.s.PGSQL.5432")
        if "host" in url.query
        else Upstream(port=url.port or 5432)
    )
    with app.connection_for_write() as connection, LoopThread() as loop:
        QUEUE(connection.default_channel).declare()
        QUEUE(connection.default_channel).purge()
        traps = Traps()
        relay = Relay(
            loop,
            place,
            requests=PostgresRequests,
            answers=PostgresAnswers,
            find_traps=lambda _key: traps,
        )
        behind = url.set(host="127.0.0.1", port=relay.port, query={"sslmode": "disable"})
        told = environment | {"RUNWARE_JOBS_DATABASE_URL": behind.render_as_string(hide_password=False)}
        first = start_worker(told, log=tmp_path / "first.log")
        try:
            first.wait_until_ready()
            trap = traps.arm(lambda said: "delete outbox" in said, Strike(Moment.BEFORE, first.kill))
            # A link of `enqueue`, and a chain with a callback besides.
            linked = jobs.enqueue(IMAGE, link=tell)
            chained = app.signature("runware_jobs.run", args=[IMAGE], queue="runware_jobs", app=app)
            chained.link(tell.clone())
            made = (chained | tell.clone()).apply_async()
            assert trap.sprung.wait(60), "the trap did not spring"
        finally:
            if first.process.poll() is None:
                first.kill()
        relay.close()
        async with engine.begin() as waiting:
            await change_rows(waiting, "UPDATE outbox SET due_at = now()")
        with running_worker(environment, log=tmp_path / "second.log"):
            linked.wait(60)
            ids: list[str] = []
            poll_until(lambda: _taken(ids, connection), what="a link, a callback and the next of the chain")
            poll_until(lambda: not _outbox(environment), what="an empty outbox")
            _taken(ids, connection)
        QUEUE(connection.default_channel).delete()

    assert len(set(ids)) == 3
    assert made.id in ids  # the id that the chain was frozen with
    assert len(ids) > 3  # what had left before the kill has left again


def test_what_follows_waits_for_a_broker_that_is_away(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with own_broker() as broker:
        told = environment | {"RUNWARE_JOBS_BROKER_URL": broker.url}
        monkeypatch.setenv("RUNWARE_JOBS_BROKER_URL", broker.url)
        app = Celery("asking", broker=broker.url, set_as_current=False)
        tell = app.signature("pictures.tell", queue=QUEUE.name, app=app)
        log = tmp_path / "worker.log"
        with Jobs(Settings()) as jobs, running_worker(told, log=log):
            # The connection that the worker publishes through is open when the broker goes.
            jobs.enqueue(IMAGE, link=tell).wait(30)
            poll_until(lambda: not _outbox(environment), what="the first link has left")
            later = app.signature(
                "runware_jobs.run", args=[IMAGE], kwargs={"delay_s": 3}, queue="runware_jobs", app=app
            )
            made = (later | tell).apply_async()
            assert made.parent is not None
            poll_until(lambda: made.parent.id in {job.id for job in jobs.list()}, what="the job of the task")
            held: Any = redis.Redis.from_url(broker.url)
            poll_until(lambda: not held.exists("runware_jobs.unacked"), what="its message was acknowledged")
            held.close()
            broker.stop()
            jobs.get(made.parent.id).wait(30)
            poll_until(lambda: "link_not_published" in log.read_text(), what="the broker is missed")
            broker.start()
            poll_until(lambda: not _outbox(environment), what="what followed has left", within_s=90)
        ids: list[str] = []
        with app.connection_for_write() as connection:
            _taken(ids, connection)
        app.close()

    assert ids == [made.id]  # what the first link was went with the broker


def _taken(ids: list[str], connection: Any) -> bool:
    queue = QUEUE(connection.default_channel)
    while (message := queue.get(no_ack=True)) is not None:
        ids.append(message.headers["id"])
    return len(set(ids)) >= 3


def _outbox(environment: dict[str, str]) -> int:
    with psycopg.connect(environment["RUNWARE_JOBS_DATABASE_URL"]) as connection:
        [count] = connection.execute("SELECT count(*) FROM runware_jobs.outbox").fetchone() or (0,)
    return int(count)
