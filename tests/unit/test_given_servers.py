"""Servers that a developer brings along: both or none, and never one broker for two of pytest's processes."""

from __future__ import annotations

import pytest

from tests.support.servers import broker_of_worker, given_servers


def test_one_of_the_two_is_refused():
    with pytest.raises(pytest.UsageError, match="both"):
        given_servers({"RUNWARE_JOBS_BROKER_URL": "redis://127.0.0.1"})

    assert given_servers({}) is None


@pytest.mark.parametrize(
    ("url", "worker", "taken"),
    [
        ("redis://127.0.0.1:6379", None, "redis://127.0.0.1:6379"),
        ("redis://127.0.0.1:6379", "gw0", "redis://127.0.0.1:6379/0"),
        ("redis://127.0.0.1:6379/4", "gw3", "redis://127.0.0.1:6379/7"),
        ("amqp://guest:guest@127.0.0.1//", None, "amqp://guest:guest@127.0.0.1//"),
    ],
)
def test_each_process_has_a_broker_of_its_own(url, worker, taken):
    assert broker_of_worker(url, worker) == taken


def test_queue_that_all_would_share_is_refused():
    with pytest.raises(pytest.UsageError, match="-n 0"):
        broker_of_worker("amqp://guest:guest@127.0.0.1//", "gw0")
