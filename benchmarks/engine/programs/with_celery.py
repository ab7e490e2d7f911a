"""Celery with the SDK: `celery -A with_celery worker`, and `python with_celery.py TASKS.json` to enqueue.

As Celery's guide has it: one message and one execution for each task, the result in
the Redis result backend, prefetch 1 because tasks are long.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from celery import Celery, signals
from generating import InThread

_LATE = os.environ.get("BENCH_ACKS_LATE") == "1"

app = Celery("with_celery", broker=os.environ["BENCH_BROKER"], backend=os.environ["BENCH_BROKER"])
app.conf.update(
    worker_prefetch_multiplier=1,
    task_acks_late=_LATE,
    task_reject_on_worker_lost=_LATE,
    # Celery's own default is an hour: until then nothing of a killed worker comes back.
    broker_transport_options={"visibility_timeout": 60} if _LATE else {},
    broker_connection_retry_on_startup=True,
)
_lock = threading.Lock()
_open: dict[int, InThread] = {}


def generator() -> InThread:
    """Give this process' client, opened once."""
    with _lock:
        if os.getpid() not in _open:
            _open[os.getpid()] = InThread()
        return _open[os.getpid()]


@signals.worker_process_init.connect
def in_child(**_: Any) -> None:
    """Open it in each child of the prefork pool."""
    generator()


@signals.worker_ready.connect
def in_process(sender: Any, **_: Any) -> None:
    """Open it in the one process of the threads pool."""
    if "thread" in type(sender.pool).__module__:
        generator()
    print("bench ready", flush=True)


@app.task
def generate(number: int, task: dict[str, Any]) -> list[dict[str, Any]]:
    """Run one task."""
    return generator().generate(number, task)


if __name__ == "__main__":
    tasks = json.loads(Path(sys.argv[1]).read_text())
    with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
        generate.apply_async((-1, {}), producer=producer, queue="warm")  # the first publish opens things
        print(json.dumps({"began_at": time.time()}), flush=True)
        for number, task in enumerate(tasks):
            generate.apply_async((number, task), producer=producer)
