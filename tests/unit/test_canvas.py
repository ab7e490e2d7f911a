"""What follows a job in a canvas, by table: messages, parts of chords, tasks that will never run, ids."""

from __future__ import annotations

from uuid import UUID

import pytest

from runware_jobs.core.canvas import (
    Ended,
    canvas_of,
    chord_parts,
    chords_of,
    failed_results,
    goes_on,
    next_try,
    what_follows,
    with_ids,
)
from runware_jobs.core.events import EventType

JOB = UUID("0f3b7a52-6a67-4b0e-9d3c-7d1f2a5b8c11")
A, B, SORRY = ({"task": f"app.{name}", "options": {"task_id": name}} for name in ("a", "b", "sorry"))
LAST = {"task": "app.last", "options": {"task_id": "last", "group_id": "g", "group_index": 3, "chord": A}}
SUCCEEDED, FAILED, CANCELED = EventType.JOB_SUCCEEDED, EventType.JOB_FAILED, EventType.JOB_CANCELED


def ended(event=SUCCEEDED, *, canvas=None, link=None, link_error=None):
    return Ended(
        job_id=JOB,
        event=event,
        results=[{"imageURL": "u"}],
        error={"message": "no", "code": "safety", "retryable": False, "parameter": "positivePrompt"},
        link=link,
        link_error=link_error,
        canvas=None if canvas is None else canvas_of(str(JOB), "runware_jobs.run", canvas),
        ended_at="2026-12-01T10:00:00Z",
        took_s=2.0,
    )


@pytest.mark.parametrize(
    ("label", "event", "canvas", "keys"),
    [
        ("no canvas", SUCCEEDED, None, []),
        ("nothing to go on to", SUCCEEDED, {}, ["event"]),
        ("a callback", SUCCEEDED, {"callbacks": [A, B]}, ["callback-0", "callback-1", "event"]),
        ("a callback of what failed", FAILED, {"callbacks": [A]}, ["event"]),
        ("a chain", SUCCEEDED, {"chain": [B, A]}, ["next", "event"]),
        ("a chain behind what failed", FAILED, {"chain": [B, A]}, ["event"]),
        ("an errback", FAILED, {"errbacks": [SORRY]}, ["errback-0", "event"]),
        ("an errback of what was canceled", CANCELED, {"errbacks": [SORRY]}, ["errback-0", "event"]),
        ("an errback of what succeeded", SUCCEEDED, {"errbacks": [SORRY]}, ["event"]),
    ],
)
def test_messages_are_those_that_celery_would_send(label, event, canvas, keys):
    assert keys == [message.key for message in what_follows(ended(event, canvas=canvas))]


@pytest.mark.parametrize(
    ("label", "event", "signature"),
    [("it succeeded", SUCCEEDED, A), ("it failed", FAILED, SORRY), ("it was canceled", CANCELED, SORRY)],
)
def test_link_of_enqueue_is_published_as_it_was_given(label, event, signature):
    [message] = what_follows(ended(event, link=A, link_error=SORRY))

    assert (message.kind, message.signature) == ("link", signature)


def test_next_of_a_chain_is_its_last_and_takes_the_rest_along():
    [message, _] = what_follows(ended(canvas={"chain": [B, A]}))

    assert (message.signature["task"], list(message.rest)) == ("app.a", [B])


@pytest.mark.parametrize(
    ("label", "event", "canvas", "parts"),
    [
        ("none", SUCCEEDED, {"chain": [B]}, []),
        ("its own", SUCCEEDED, {"group": "g", "group_index": 1, "chord": A}, [("g", str(JOB), 1, "SUCCESS")]),
        ("of its chain, later", SUCCEEDED, {"chain": [LAST]}, []),
        ("of its chain, never", FAILED, {"chain": [LAST, A]}, [("g", "last", 3, "FAILURE")]),
        (
            "of a chord's body in its chain",
            CANCELED,
            {"chain": [{"task": "celery.chord", "subtask_type": "chord", "kwargs": {"body": LAST}}]},
            [("g", "last", 3, "REVOKED")],
        ),
    ],
)
def test_parts_of_chords_end_with_the_job(label, event, canvas, parts):
    found = chord_parts(ended(event, canvas=canvas))

    assert parts == [(one["group_id"], one["task_id"], one["position"], one["status"]) for one in found]


@pytest.mark.parametrize(
    ("label", "event", "status", "kind"),
    [("failed", FAILED, "FAILURE", "TaskFailed"), ("canceled", CANCELED, "REVOKED", "TaskRevokedError")],
)
def test_tasks_that_will_never_run_have_failed_as_the_job_did(label, event, status, kind):
    results = failed_results(ended(event, canvas={"chain": [B, A]}))

    assert {"a", "b"} == {one["task_id"] for one in results}
    assert {(status, kind)} == {(one["status"], one["result"]["exc_type"]) for one in results}
    assert failed_results(ended(canvas={"chain": [B]})) == []


def test_body_of_a_chord_is_not_kept_with_each_of_its_parts():
    canvas = canvas_of(
        "id", "runware_jobs.run", {"chord": {"task": "app.body"}, "group": "g", "hostname": "h"}
    )

    assert canvas == {"id": "id", "task": "runware_jobs.run", "group": "g", "is_chord_part": True}


@pytest.mark.parametrize(
    ("label", "request_", "groups", "goes"),
    [
        ("nothing", {}, set(), False),
        ("a group", {"group": "g"}, set(), False),
        ("a part", {"group": "g", "chord": A}, {"g"}, True),
        ("a part without its group", {"chord": A}, {""}, True),
        ("the beginning of a part", {"chain": [LAST, A]}, {"g"}, True),
    ],
)
def test_chords_are_found_at_the_end_of_a_chain_too(label, request_, groups, goes):
    assert (groups, goes) == (chords_of(request_), goes_on(request_))


@pytest.mark.parametrize(
    ("label", "signature"),
    [
        ("a task", {"task": "app.a"}),
        ("options that are null", {"task": "app.a", "options": None}),
        ("a chain", {"task": "celery.chain", "subtask_type": "chain", "kwargs": {"tasks": [{"task": "a"}]}}),
        ("a group", {"task": "celery.group", "subtask_type": "group", "kwargs": {"tasks": [{"task": "a"}]}}),
        (
            "a chord",
            {
                "task": "celery.chord",
                "subtask_type": "chord",
                "kwargs": {"header": [{"task": "a"}], "body": {"task": "b"}},
            },
        ),
    ],
)
def test_ids_are_the_same_each_time_and_differ_by_what_they_are_for(label, signature):
    named = with_ids(signature, "one")

    assert named == with_ids(signature, "one")
    assert named != with_ids(signature, "another")
    assert signature.get("options") is None  # the given one is left alone


def test_ids_that_are_there_are_kept():
    assert with_ids(A, "one")["options"]["task_id"] == "a"


@pytest.mark.parametrize(
    ("label", "tries", "passes", "age_s", "wait_s"),
    [
        ("at first soon", 0, True, 1, 1),
        ("then later", 3, True, 1, 8),
        ("a broker that is away for long", 50, True, 1e6, 30),
        ("one that is broken", 3, False, 60, 8),
        ("is not tried hotly", 50, False, 3600, 600),
        ("and given up after a day", 50, False, 90_000, None),
    ],
)
def test_link_waits_longer_each_time(label, tries, passes, age_s, wait_s):
    assert wait_s == next_try(tries, passes=passes, age_s=age_s)
