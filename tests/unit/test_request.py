"""Requests of producers, checked: what is refused names its field and the remedy, what passes is normal."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from runware_jobs.core.request import MAX_PARAMS_BYTES, Options, make_job, refuse_deep
from runware_jobs.core.states import Lane
from runware_jobs.errors import InvalidJob

JOB_ID = UUID(int=7)
IMAGE = {"taskType": "imageInference", "model": "runware:400@1", "positivePrompt": "a lighthouse"}
ALIAS = "2A7F2C9E-6C5C-4F0D-9C59-8B0B8E0C7A11"


def make(params=IMAGE, *, kind="run", **options):
    return make_job(JOB_ID, kind, params, Options(**options))


@pytest.mark.parametrize(
    ("label", "change", "parameter", "remedy"),
    [
        ("a key", {"apiKey": "k"}, "apiKey", "the worker's own key"),
        ("a callback", {"webhookURL": "https://a.example"}, "webhookURL", "webhook_url"),
        ("an upload address", {"uploadEndpoint": "https://a.example"}, "uploadEndpoint", "archive"),
        ("a stream", {"deliveryMethod": "stream"}, "deliveryMethod", "stream()"),
        ("bytes in rows", {"outputType": "base64Data"}, "outputType", "archive"),
        ("bytes in rows, among others", {"outputType": ["URL"]}, "outputType", "archive"),
        ("another's task type", {"taskType": "accountManagement"}, "taskType", "imageInference"),
        ("no task type", {"taskType": None}, "taskType", "imageInference"),
        ("an upload as a run", {"taskType": "mediaStorage"}, "taskType", "imageInference"),
        ("an alias that is no UUID", {"taskUUID": "mine"}, "taskUUID", "UUID"),
        ("a model that is no string", {"model": 400}, "model", "AIR"),
        ("a model without end", {"model": "m" * 256}, "model", "255"),
        ("too large", {"positivePrompt": "x" * MAX_PARAMS_BYTES}, "params", "upload media first"),
        ("no JSON", {"seed": object()}, "params", "JSON"),
        ("a time", {"at": datetime(2026, 1, 1, tzinfo=UTC).tzinfo}, "params", "JSON"),
        ("a number without end", {"seed": 2**70}, "params", "JSON"),
        ("half a character", {"positivePrompt": "\ud800"}, "params", "JSON"),
        ("a NUL", {"positivePrompt": "a\x00b"}, "params", "NUL"),
        ("a NUL, deep down", {"inputs": {"texts": [{"a\x00": 1}]}}, "params", "NUL"),
        ("no results", {"numberResults": 0}, "numberResults", "1 to 1000"),
        ("results without end", {"numberResults": 100_000}, "numberResults", "1 to 1000"),
        ("results in words", {"numberResults": "4"}, "numberResults", "1 to 1000"),
    ],
)
def test_refused_parameter_is_named_with_its_remedy(label, change, parameter, remedy):
    with pytest.raises(InvalidJob) as refused:
        make({**IMAGE, **change})

    assert parameter == refused.value.parameter
    assert remedy in refused.value.message
    assert refused.value.code == "validation"


@pytest.mark.parametrize(
    ("label", "options", "parameter"),
    [
        ("above the highest priority", {"priority": 10}, "priority"),
        ("half a priority", {"priority": 5.5}, "priority"),
        ("a priority in words", {"priority": "high"}, "priority"),
        ("a truth value", {"priority": True}, "priority"),
        ("no attempt", {"max_attempts": 0}, "max_attempts"),
        ("half an attempt", {"max_attempts": 1.5}, "max_attempts"),
        ("into the past", {"delay_s": -1}, "delay_s"),
        ("for ever", {"delay_s": float("inf")}, "delay_s"),
        ("no number", {"delay_s": float("nan")}, "delay_s"),
        ("late before it starts", {"deadline_s": 0}, "deadline_s"),
        ("started before it starts", {"start_deadline_s": -1}, "start_deadline_s"),
        ("no tenant", {"tenant": ""}, "tenant"),
        ("no tenant at all", {"tenant": None}, "tenant"),
        ("a key without end", {"idempotency_key": "x" * 256}, "idempotency_key"),
        ("a key with a NUL", {"external_id": "a\x00"}, "external_id"),
        ("a number as a key", {"custom_id": 7}, "custom_id"),
        ("half a loaf", {"on_partial": "maybe"}, "on_partial"),
        ("an empty tag", {"tags": ("",)}, "tags"),
        ("a tag that is no string", {"tags": (7,)}, "tags"),
        ("one string for all tags", {"tags": "abc"}, "tags"),
        ("metadata that is no JSON", {"metadata": {"a": object()}}, "metadata"),
        ("metadata with a NUL", {"metadata": {"a": "\x00"}}, "metadata"),
        ("a link that is no JSON", {"link": {"task": object()}}, "link"),
        ("a link with a NUL", {"link_error": {"task": "\x00"}}, "link_error"),
    ],
)
def test_refused_option_is_named(label, options, parameter):
    with pytest.raises(InvalidJob) as refused:
        make(**options)

    assert parameter == refused.value.parameter


def test_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(InvalidJob, match="run, upload, training"):
        make(kind="dream")


def test_task_uuid_of_a_caller_becomes_the_alias_and_is_never_sent():
    job = make({**IMAGE, "taskUUID": ALIAS})

    assert ALIAS.lower() == job.alias
    assert "taskUUID" not in job.params


def test_delivery_and_cost_are_ours_to_decide():
    job = make({**IMAGE, "deliveryMethod": "sync", "includeCost": False})

    assert job.params["deliveryMethod"] == "async"
    assert job.params["includeCost"] is True


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("upload", {"taskType": "mediaStorage", "media": "https://a.example/a.png"}),
        ("training", {"taskType": "training", "model": "a:1@1"}),
    ],
)
def test_type_without_delivery_method_is_sent_without_it(kind, params):
    assert "deliveryMethod" not in make({**params, "deliveryMethod": "async"}, kind=kind).params


@pytest.mark.parametrize(
    ("label", "params", "lane"),
    [
        ("an image", IMAGE, Lane.IMAGE),
        ("a tool on a picture", {"taskType": "upscale", "inputs": {"image": "u"}}, Lane.IMAGE),
        (
            "a tool on a video is as slow as one",
            {"taskType": "upscale", "inputs": {"video": "u"}},
            Lane.VIDEO,
        ),
        ("text", {"taskType": "caption"}, Lane.TEXT),
        ("3d", {"taskType": "3dInference"}, Lane.THREE_D),
    ],
)
def test_lane_follows_from_the_task(label, params, lane):
    assert lane is make(params).lane


@pytest.mark.parametrize(
    ("label", "params", "expected"),
    [
        ("one unless told otherwise", IMAGE, 1),
        ("as many as asked for", {**IMAGE, "numberResults": 4}, 4),
        ("versions of a prompt", {"taskType": "promptEnhance", "promptVersions": 3}, 3),
    ],
)
def test_results_expected_are_those_asked_for(label, params, expected):
    assert expected == make(params).results_expected


def test_request_hash_tells_requests_apart_and_ignores_spelling():
    same = make(dict(reversed(IMAGE.items())), priority=9)

    assert make().request_hash == same.request_hash
    assert make().request_hash != make({**IMAGE, "seed": 1}).request_hash
    assert make().request_hash == make({**IMAGE, "taskUUID": ALIAS}).request_hash


def test_callers_own_params_are_left_alone():
    params = {**IMAGE, "taskUUID": ALIAS}
    make(params)

    assert params == {**IMAGE, "taskUUID": ALIAS}


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"x": inner}], ids=["lists", "dicts"])
def test_params_nested_too_deeply_are_refused_on_every_python(wrap):
    deep = "x"
    for _ in range(100_000):
        deep = wrap(deep)
    with pytest.raises(InvalidJob, match="nested more than 64"):
        refuse_deep({"positivePrompt": deep})


def test_params_as_deep_as_any_task_are_taken():
    deep = "x"
    for _ in range(60):
        deep = [deep]

    refuse_deep({"positivePrompt": deep})
