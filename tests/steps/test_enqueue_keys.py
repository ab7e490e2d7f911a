"""A request under a key of its own is the same job wherever, and whenever, it is asked for."""

from __future__ import annotations

import pytest

from runware_jobs.core.request import Options
from runware_jobs.errors import InvalidJob
from runware_jobs.steps.enqueue import ask

PARAMS = {"model": "runware:400@1", "positivePrompt": "a lighthouse", "width": 512, "height": 512}


def job_id(params=PARAMS, **options):
    return ask(params, Options(**options), kind="run").job.id


@pytest.mark.parametrize("key", ["idempotency_key", "external_id"])
def test_a_replay_has_the_id_that_a_restored_database_has_forgotten(key):
    assert job_id(**{key: "order-7"}) == job_id(**{key: "order-7"})


@pytest.mark.parametrize(
    "other",
    [
        {"idempotency_key": "order-8"},
        {"idempotency_key": "order-7", "tenant": "acme"},
        {"idempotency_key": "order-7", "params": {**PARAMS, "width": 1024}},
    ],
)
def test_another_tenant_key_or_request_is_another_job(other):
    assert job_id(**other) != job_id(idempotency_key="order-7")


def test_requests_without_a_key_are_jobs_of_their_own():
    assert job_id() != job_id()


def test_half_a_character_is_no_key():
    with pytest.raises(InvalidJob, match="idempotency_key must be a string"):
        job_id(idempotency_key="\ud800")
