"""The peer of `benchmarks.delivery`: one Celery task per webhook, signed alike; told by the environment."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
from celery import Celery
from standardwebhooks.webhooks import Webhook

# What our own body of a canceled job holds.
EVENT: dict[str, Any] = {
    "type": "job.canceled",
    "created_at": "2026-11-21T12:00:00.000000Z",
    "job_id": "0f0e3c1e-7c1d-4b7e-9a55-5d9f4c0d1a2b",
    "run": 1,
    "seq": 2,
    "data": {
        "state": "canceled",
        "results": [],
        "failures": [],
        "error": None,
        "cost_usd": None,
        "billing": "none",
        "metadata": {},
    },
}


def make_app() -> Celery:
    """Make the app with its one task: late acks, four messages fetched ahead for each thread, no results."""
    app = Celery(broker=os.environ["BENCH_BROKER"], set_as_current=False)
    app.conf.update(
        task_acks_late=True,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_default_queue="bench",
        broker_connection_retry_on_startup=True,
    )
    url, webhook = os.environ["BENCH_URL"], Webhook(os.environ["BENCH_SECRET"])
    client = httpx.Client(timeout=15.0)

    @app.task(name="bench.deliver", max_retries=9, autoretry_for=(httpx.HTTPError,))  # type: ignore[untyped-decorator]  # Celery is untyped
    def deliver(event_id: str, event: dict[str, Any]) -> None:
        body = orjson.dumps(event)
        now = datetime.now(UTC)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": event_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": webhook.sign(event_id, now, body.decode()),
        }
        client.post(url, content=body, headers=headers).raise_for_status()

    return app


if "BENCH_BROKER" in os.environ:
    app = make_app()
