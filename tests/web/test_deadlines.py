"""JOB_DEADLINE_S over HTTP: a tenant's jobs end by it, whatever the tenant asks for."""

from __future__ import annotations

from datetime import datetime

import pytest

from runware_jobs.settings import Settings
from runware_jobs.store.keys import Scope

PARAMS = {"model": "runware:400@1", "positivePrompt": "a lighthouse", "width": 1024, "height": 1024}


@pytest.fixture
def settings(clean_database, services):
    return Settings(
        database_url=clean_database,
        broker_url=services.broker_url,
        secret_key="a key that only tests use",
        job_deadline_s=600,
    )


async def added(client, **options):
    answer = await client.post("/v1/jobs", json={"params": PARAMS, **options})
    return (await client.get(answer.headers["location"])).json()


def allowed_s(job):
    """Say how long the job may take; None: as long as it likes."""
    if job["deadline_at"] is None:
        return None
    allowed = datetime.fromisoformat(job["deadline_at"]) - datetime.fromisoformat(job["created_at"])
    return round(allowed.total_seconds())


async def test_tenant_cannot_lift_the_deadline_and_an_admin_can(connect, new_key):
    tenant, admin = [connect(key=await new_key(scope, Scope.READ)) for scope in (Scope.ENQUEUE, Scope.ADMIN)]
    lifted = [await added(one, deadline_s=None) for one in (tenant, admin)]
    later = await tenant.post("/v1/jobs", json={"params": PARAMS, "deadline_s": 601})
    batch = await tenant.post("/v1/batches", json={"jobs": [PARAMS], "deadline_s": 601})
    earlier = await added(tenant, deadline_s=60)

    assert [allowed_s(job) for job in lifted] == [600, None]
    assert allowed_s(earlier) == 60
    assert (later.status_code, batch.status_code) == (422, 422)
    assert later.json()["parameter"] == "deadline_s"
    assert "600" in later.json()["detail"]


async def test_answer_to_an_enqueue_shows_the_deadline_that_was_written(connect, new_key):
    client = connect(key=await new_key(Scope.ENQUEUE, Scope.READ))
    answer = await client.post("/v1/jobs", json={"params": PARAMS, "deadline_s": 60})
    read = await client.get(answer.headers["location"])

    assert answer.json()["deadline_at"] == read.json()["deadline_at"] is not None
