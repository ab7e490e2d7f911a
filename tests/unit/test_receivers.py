"""Receivers of signals: connected as Celery's are, called one by one, never silently not at all."""

from __future__ import annotations

import functools
import gc

import pytest

from runware_jobs.signals import JobSignal

APP = object()
JOB, EVENT = {"id": "j"}, {"type": "job.queued", "job_id": "j"}


@pytest.fixture
def signal():
    return JobSignal("on_state")


def tell(signal, sender=APP):
    calls = signal.calls(sender)
    for _, call in calls:
        call(JOB, EVENT)
    return [name for name, _ in calls]


def test_receivers_are_called_in_the_order_they_were_connected_with_what_celery_gives(signal):
    heard = []

    @signal.connect
    def first(**told):
        heard.append(("first", told))

    @signal.connect
    def second(job, event, **_):
        heard.append(("second", job, event))

    names = tell(signal)

    assert heard == [
        ("first", {"signal": signal, "sender": APP, "job": JOB, "event": EVENT}),
        ("second", JOB, EVENT),
    ]
    assert [name.rpartition(".")[2] for name in names] == ["first", "second"]
    assert names[0].startswith(__name__)


def test_what_a_weak_reference_has_lost_is_nobody_and_is_counted(signal):
    signal.connect(lambda **_: None)
    gc.collect()

    assert not signal.has_receivers
    assert signal.calls(APP) == []
    assert signal.lost == 1


def test_lambda_that_is_held_hears(signal):
    heard = []
    signal.connect(lambda job, **_: heard.append(job), weak=False)
    tell(signal)

    assert signal.has_receivers
    assert heard == [JOB]
    assert signal.lost == 0


def test_bound_method_hears_as_long_as_its_object_lives(signal):
    class Listener:
        def __init__(self):
            self.heard = []

        def hear(self, job, **_):
            self.heard.append(job)

    listener = Listener()
    signal.connect(listener.hear)
    tell(signal)

    assert listener.heard == [JOB]

    del listener
    gc.collect()

    assert tell(signal) == []


def test_one_dispatch_uid_is_one_receiver(signal):
    heard = []
    for _ in range(2):  # a module that is imported twice
        signal.connect(lambda **_: heard.append(1), weak=False, dispatch_uid="once")
    tell(signal)

    assert heard == [1]
    assert signal.disconnect(dispatch_uid="once")
    assert not signal.has_receivers


def test_receiver_of_another_sender_hears_nothing(signal):
    heard = []
    signal.connect(lambda **_: heard.append(1), sender=object(), weak=False)
    tell(signal)

    assert heard == []


def test_async_receiver_is_run_to_its_end(signal):
    heard = []

    async def listen(job, **_):
        heard.append(job)

    signal.connect(listen)
    tell(signal)

    assert heard == [JOB]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_receiver_that_would_do_nothing_says_so(signal, kind):
    def walk(**_):
        yield

    async def stroll(**_):
        yield

    signal.connect(walk if kind == "sync" else stroll, weak=False)

    with pytest.raises(TypeError, match="yield"):
        tell(signal)


def test_every_receiver_has_a_name_for_the_log(signal):
    class Called:
        def __call__(self, **_):
            pass

    def base(given, **_):
        pass

    signal.connect(Called(), weak=False)
    signal.connect(functools.partial(base, 1), weak=False)

    assert [name.rpartition(".")[2] for name in tell(signal)] == ["Called", "base"]


def test_receiver_without_keywords_is_refused_when_it_is_connected(signal):
    with pytest.raises(ValueError, match="keyword"):
        signal.connect(lambda job: None, weak=False)
