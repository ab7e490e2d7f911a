"""Derived names: the same after a restored backup, different for everything else, and no random choice."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from runware_jobs.core.identity import job_id_of_key, new_job_id, organisation_of_key, task_uuid

SECRET = b"s" * 32
attempts = st.tuples(st.binary(min_size=32, max_size=32), st.uuids(), st.integers(1, 9), st.integers(1, 9))


def test_task_uuid_stays_the_same_over_releases():
    """A changed derivation would turn every task in flight into a second one (DESIGN 4, Identity)."""
    assert task_uuid(SECRET, UUID(int=1), 1, 1) == UUID("80548799-0ffb-435f-aef1-784728119632")


@given(attempts)
def test_task_uuid_is_shaped_like_a_random_one(attempt):
    derived = task_uuid(*attempt)

    assert derived.version == 4
    assert derived.variant == "specified in RFC 4122"


@given(attempts, attempts)
def test_task_uuids_differ_by_installation_job_run_and_number(one, other):
    assert (one == other) == (task_uuid(*one) == task_uuid(*other))


def test_job_id_of_a_key_stays_the_same_over_releases():
    """A changed derivation would make a second job of each replay after a restore (DESIGN 4, Identity)."""
    assert job_id_of_key("acme", "order-7", b"r" * 32) == UUID("4d88aceb-5a87-5e45-bb05-73ee166f4dc2")


keyed = st.tuples(st.text(), st.text(), st.binary(min_size=32, max_size=32))


@given(keyed, keyed)
def test_job_ids_of_keys_differ_by_tenant_key_and_request(one, other):
    assert (one == other) == (job_id_of_key(*one) == job_id_of_key(*other))


def test_organisation_of_a_key_does_not_show_it():
    name = organisation_of_key("rw-secret", "https://api.example/v1")

    assert "rw-secret" not in name
    assert name == organisation_of_key("rw-secret", "https://api.example/v1")
    assert name != organisation_of_key("rw-secret", "https://other.example/v1")
    assert name != organisation_of_key("rw-other", "https://api.example/v1")


def test_job_ids_are_version_7_and_all_different():
    ids = [new_job_id() for _ in range(1000)]

    assert len(set(ids)) == 1000
    assert {7} == {job_id.version for job_id in ids}
    assert {"specified in RFC 4122"} == {job_id.variant for job_id in ids}


def test_job_ids_sort_in_the_order_in_which_they_were_made():
    ids = [new_job_id() for _ in range(1000)]

    assert sorted(ids) == ids
