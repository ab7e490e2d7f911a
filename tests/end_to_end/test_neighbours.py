"""Another Celery application on the same broker: nobody eats, sweeps or redelivers the other's messages."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis
from celery import Celery
from celery.contrib.testing.worker import start_worker

from runware_jobs import Jobs, Settings
from tests.support.own_broker import own_broker
from tests.support.polling import poll_until
from tests.support.worker_process import running_worker

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

IMAGE = {"model": "runware:400@1", "positivePrompt": "a heron", "width": 512, "height": 512}


def _unacked(old_s: float) -> tuple[str, str, float]:
    """A message that a neighbour's worker holds, as kombu keeps it: in `unacked`, by its delivery tag."""
    body = {
        "body": "W10=",
        "headers": {"task": "neighbour.task", "id": "n1"},
        "properties": {"delivery_tag": "n1"},
    }
    return "n1", json.dumps([body, "", "celery"]), time.time() - old_s


def test_neither_touches_the_others_messages(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with own_broker() as broker:
        monkeypatch.setenv("RUNWARE_JOBS_BROKER_URL", broker.url)
        told = environment | {"RUNWARE_JOBS_BROKER_URL": broker.url}
        store: Any = redis.Redis.from_url(broker.url)
        neighbour = Celery("neighbour", broker=broker.url, set_as_current=False)
        neighbour.send_task("neighbour.task")
        tag, held, since = _unacked(old_s=7 * 86_400)
        store.hset("unacked", tag, held)
        store.zadd("unacked_index", {tag: since})
        # A message of ours that a dead worker of ours held, longer ago than our short visibility timeout.
        store.hset("runware_jobs.unacked", "ours", held.replace('"celery"', '"runware_jobs"'))
        store.zadd("runware_jobs.unacked_index", {"ours": time.time() + 3600})
        with Jobs(Settings()) as jobs, running_worker(told, log=tmp_path / "worker.log"):
            for _ in range(3):
                assert jobs.enqueue(IMAGE).wait(30).state == "succeeded"
            # Ours sweeps what is its own, every few seconds; a visit of its sweeper is waited for.
            store.zadd("runware_jobs.unacked_index", {"ours": 0})
            poll_until(lambda: not store.hexists("runware_jobs.unacked", "ours"), what="our sweeper came by")

        assert store.llen("celery") == 1
        assert store.hgetall("unacked") == {tag.encode(): held.encode()}
        assert store.zcard("unacked_index") == 1
        assert "neighbour.task" not in (tmp_path / "worker.log").read_text().replace("n1", "")


def test_neighbour_with_default_keys_leaves_ours_alone(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_broker() as broker:
        monkeypatch.setenv("RUNWARE_JOBS_BROKER_URL", broker.url)
        store: Any = redis.Redis.from_url(broker.url)
        producer = Celery(broker=broker.url, set_as_current=False)
        producer.send_task("runware_jobs.run", args=[IMAGE], queue="runware_jobs")
        store.hset("runware_jobs.unacked", "ours", "held by a worker of ours")
        store.zadd("runware_jobs.unacked_index", {"ours": 0})
        neighbour = Celery("neighbour", broker=broker.url, set_as_current=False)
        neighbour.conf.broker_transport_options = {
            "visibility_timeout": 1,
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
        }
        done: list[int] = []

        @neighbour.task(name="neighbour.task")  # type: ignore[untyped-decorator]  # Celery is untyped
        def note() -> None:
            done.append(1)

        with start_worker(neighbour, perform_ping_check=False, pool="solo"):
            for _ in range(3):
                neighbour.send_task(note.name)
            poll_until(lambda: len(done) == 3, what="the neighbour did its own")

        assert store.llen("runware_jobs") == 1
        assert store.hgetall("runware_jobs.unacked") == {b"ours": b"held by a worker of ours"}
        assert store.zcard("runware_jobs.unacked_index") == 1
