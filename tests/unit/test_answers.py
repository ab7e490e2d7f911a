"""Answers of the platform, read: both failure forms, keys, order, completeness, progress, money."""

from __future__ import annotations

from decimal import Decimal

import pytest

from runware_jobs.core.answers import Answer, JobError, cost_of, read_answer
from runware_jobs.steps.words import item_error

OK = {"taskType": "imageInference", "taskUUID": "t", "status": "success"}
OPEN = {"taskType": "imageInference", "taskUUID": "t", "status": "processing"}
BROKEN = {**OK, "status": "error", "error": {"code": "timeoutProvider", "message": "slow"}}
TIMEOUT = JobError("timeout", "slow")


def read(*items, errors=(), expected=1):
    return read_answer(Answer(items, tuple(errors)), expected=expected, classify=item_error)


@pytest.mark.parametrize(
    ("label", "items", "errors", "expected", "keys", "is_complete"),
    [
        ("nothing yet", (), (), 1, [], False),
        ("an ACK", ({"taskType": "imageInference", "taskUUID": "t"},), (), 1, [], False),
        ("processing", (OPEN,), (), 1, [], False),
        ("processing, with a UUID already", ({**OPEN, "imageUUID": "a"},), (), 1, [], False),
        ("a status nobody knows", ({**OK, "status": "resting"},), (), 1, [], False),
        ("one of one", ({**OK, "imageUUID": "a"},), (), 1, ["ua"], True),
        ("one of two", ({**OK, "imageUUID": "a"}, OPEN), (), 2, ["ua"], False),
        ("one of two, without a key", (OK, OPEN), (), 2, [], False),
        ("two of two, without keys", (OK, OK), (), 2, ["p0", "p1"], True),
        ("resultIndex before the UUID", ({**OK, "imageUUID": "a", "resultIndex": 3},), (), 1, ["i3"], True),
        ("form B alone", (BROKEN,), (), 1, ["p0"], True),
        ("form A alone", (), (TIMEOUT,), 1, ["e0"], True),
        ("form A ends a task of four", (), (TIMEOUT,), 4, ["e0"], True),
        ("form A beside an open item", (OPEN,), (TIMEOUT,), 4, [], False),
        ("form A beside a success", ({**OK, "imageUUID": "a"},), (TIMEOUT,), 2, ["ua", "e0"], True),
        ("form B beside a success", ({**OK, "imageUUID": "a"}, BROKEN), (), 2, ["ua", "p1"], True),
        ("the same item twice is one", ({**OK, "imageUUID": "a"},) * 2, (), 2, ["ua"], False),
        ("the same index twice is one", ({**OK, "resultIndex": 0},) * 2, (), 2, ["i0"], False),
        ("an old answer without status", ({"imageURL": "u", "imageUUID": "a"},), (), 1, ["ua"], True),
        ("text without status", ({"text": "hi"},), (), 1, ["p0"], True),
        ("an upload", ({"taskType": "mediaStorage", "mediaUUID": "m"},), (), 1, ["um"], True),
        (
            "a training",
            ({"taskType": "training", "status": "success", "outputs": {}},),
            (),
            1,
            ["p0"],
            True,
        ),
        ("a model, phase", ({"taskType": "modelUpload", "status": "stored"},), (), 1, [], False),
        (
            "a model, ready",
            ({"taskType": "modelUpload", "status": "ready", "air": "x"},),
            (),
            1,
            ["p0"],
            True,
        ),
        ("a model, failed", ({"taskType": "modelUpload", "status": "failed"},), (), 1, ["p0"], True),
    ],
)
def test_reading_by_table(label, items, errors, expected, keys, is_complete):
    reading = read(*items, errors=errors, expected=expected)

    assert is_complete == reading.is_complete
    assert keys == [result.key for result in reading.results]


def test_keys_do_not_depend_on_the_order_of_the_items():
    first = read({**OK, "imageUUID": "a"}, OPEN, expected=2)
    second = read({**OK, "imageUUID": "b"}, {**OK, "imageUUID": "a"}, expected=2)

    assert {"ua"} == {result.key for result in first.results}
    assert {"ua", "ub"} == {result.key for result in second.results}


def test_result_index_is_the_position_where_it_can_be_one():
    reading = read(*({**OK, "resultIndex": n} for n in (1, 0, 10**9)), expected=3)

    assert [result.position for result in reading.results] == [1, 0, 2]


@pytest.mark.parametrize(
    ("label", "items", "progress"),
    [
        ("none told", (OPEN,), None),
        ("told", ({**OPEN, "progress": 47},), 47),
        ("the slowest", ({**OPEN, "progress": 47}, {**OPEN, "progress": 3}), 3),
        ("of open items only", ({**OK, "progress": 100}, {**OPEN, "progress": 3}), 3),
        ("clamped", ({**OPEN, "progress": 400},), 100),
        ("no number", ({**OPEN, "progress": "half"},), None),
        ("no truth value", ({**OPEN, "progress": True},), None),
        ("a phase of an upload", ({"taskType": "modelUpload", "status": "downloaded"},), 40),
    ],
)
def test_progress_by_table(label, items, progress):
    assert progress == read(*items, expected=9).progress


@pytest.mark.parametrize(
    ("label", "cost", "usd"),
    [
        ("a float, exactly as written", 0.0013, Decimal("0.0013")),
        ("a string", "0.5", Decimal("0.5")),
        ("free", 0, Decimal(0)),
        ("none", None, None),
        ("a truth value", True, None),
        ("negative", -1, None),
        ("no number", "much", None),
        ("no end", float("inf"), None),
        ("more than a column holds", 1e9, None),
    ],
)
def test_cost_that_cannot_be_believed_is_none(label, cost, usd):
    assert usd == cost_of({"cost": cost})


def test_failed_item_names_its_error_in_our_codes():
    [result] = read(BROKEN).results

    assert not result.succeeded
    assert (result.error.code, result.error.message) == ("timeout", "slow")


def test_what_a_database_cannot_hold_is_replaced():
    """One character of one text must not keep a group of a hundred answers from being recorded."""
    [result] = read({**OK, "imageUUID": "a\x00b", "text": ["nul \x00 here"]}).results

    assert result.key == "ua\ufffdb"
    assert result.item["text"] == ["nul \ufffd here"]


def test_error_shown_leaves_out_what_is_not_known():
    assert TIMEOUT.to_json() == {"code": "timeout", "message": "slow", "retryable": False}
