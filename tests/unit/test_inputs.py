"""Large media out of params and back in: what goes over the wire is what the producer gave."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runware_jobs.core import inputs
from runware_jobs.core.inputs import (
    INLINE_BYTES,
    LARGE_BYTES,
    data_uri,
    extract_inputs,
    inputs_of,
    is_about_media,
    references,
    restore_inputs,
    upload_task_uuid,
)
from runware_jobs.core.states import Inputs
from runware_jobs.errors import InvalidJob

LARGE = data_uri("image/png", b"\x89PNG" + bytes(LARGE_BYTES))

KINDS = ("image/png", "video/mp4", "audio/x-wav", "model/gltf-binary")
media = st.sampled_from([data_uri(kind, bytes([n]) * (LARGE_BYTES + n)) for n, kind in enumerate(KINDS)])
leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20), media)
names = st.text(max_size=8).filter(lambda name: name != "$input")
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)),
    max_leaves=6,
)


@given(st.dictionaries(names, trees, max_size=4))
def test_extracted_media_comes_back_as_it_was(params):
    slim, found = extract_inputs(params)
    stored = {new.sha256: data_uri(new.media_type, new.content) for new in found}

    assert set(stored) == {reference.sha256 for reference in references(slim)}
    assert params == restore_inputs(slim, lambda reference: stored[reference.sha256])


def test_same_media_in_many_places_is_stored_once():
    slim, found = extract_inputs({"a": LARGE, "b": [LARGE, {"c": LARGE}]})

    assert len(found) == 1
    assert hashlib.sha256(found[0].content).digest() == found[0].sha256
    assert {"$input": found[0].sha256.hex()} == slim["b"][1]["c"]


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("small", data_uri("image/png", b"x")),
        ("a URL", "https://a.example/" + "x" * LARGE_BYTES),
        ("no base64", "data:image/svg+xml," + "x" * LARGE_BYTES),
        ("a long prompt", "a lighthouse " * LARGE_BYTES),
    ],
)
def test_what_is_no_large_data_uri_stays(label, value):
    assert ({"a": value}, []) == extract_inputs({"a": value})


@pytest.mark.parametrize(
    ("label", "params", "parameter"),
    [
        ("a reference of one's own", {"image": {"$input": "00" * 32}}, "$input"),
        ("beside other names", {"image": {"$input": "00" * 32, "a": 1}}, "$input"),
        ("deep down", {"a": [{"b": {"$input": 1}}]}, "$input"),
        ("broken base64", {"a": "data:image/png;base64," + "!" * LARGE_BYTES}, "params"),
        ("base64 without its end", {"a": LARGE.rstrip("=")[:-1] + "A" * 2}, "params"),
    ],
)
def test_input_that_cannot_be_is_refused(label, params, parameter):
    with pytest.raises(InvalidJob) as refused:
        extract_inputs(params)

    assert parameter == refused.value.parameter


def test_media_beyond_the_limit_is_refused_with_the_other_way(monkeypatch):
    monkeypatch.setattr(inputs, "MAX_INPUT_BYTES", 100)

    with pytest.raises(InvalidJob, match="pass a URL"):
        extract_inputs({"a": LARGE})


def test_callers_params_are_left_alone():
    params = {"a": {"b": LARGE}}
    extract_inputs(params)

    assert params == {"a": {"b": LARGE}}
    assert base64.b64decode(LARGE.partition(",")[2]).startswith(b"\x89PNG")


SMALL, BIG = b"x" * INLINE_BYTES, b"x" * (INLINE_BYTES + 1)


@pytest.mark.parametrize(
    ("label", "params", "expected"),
    [
        ("a large picture", {"seedImage": data_uri("image/png", BIG)}, Inputs.AWAITED),
        ("deep below inputs", {"inputs": {"references": [data_uri("image/png", BIG)]}}, Inputs.AWAITED),
        ("a small picture goes along", {"seedImage": data_uri("image/png", SMALL)}, Inputs.READY),
        ("a video never does", {"inputs": {"video": data_uri("video/mp4", SMALL)}}, Inputs.AWAITED),
        ("an upload is given the media", {"media": data_uri("video/mp4", BIG)}, Inputs.READY),
        (
            "an upload's inputs too",
            {"taskType": "mediaStorage", "inputs": {"image": data_uri("image/png", BIG)}},
            Inputs.READY,
        ),
        ("where no UUID is known to be taken", {"messages": [data_uri("image/png", BIG)]}, Inputs.READY),
        ("nothing large", {"seedImage": "https://a.example/b.png"}, None),
    ],
)
def test_input_goes_ahead_of_its_job_where_a_uuid_can_stand_for_it(label, params, expected):
    _, found = extract_inputs({"taskType": "imageInference", **params})

    assert expected == inputs_of(found)


def test_same_input_in_two_places_goes_ahead_when_one_of_them_needs_it():
    picture = data_uri("image/png", BIG)

    assert inputs_of(extract_inputs({"messages": [picture], "seedImage": picture})[1]) == Inputs.AWAITED
    assert inputs_of(extract_inputs({"seedImage": picture, "messages": [picture]})[1]) == Inputs.AWAITED


def test_reference_names_its_parameter_as_the_platform_does():
    slim, _ = extract_inputs({"inputs": {"references": ["u", LARGE]}})

    assert [reference.parameter for reference in references(slim)] == ["inputs.references.1"]


def test_upload_keeps_its_task_until_it_has_another_number():
    one = upload_task_uuid(b"s", 1, "acme", b"h" * 32, 1)

    assert one == upload_task_uuid(b"s", 1, "acme", b"h" * 32, 1)
    assert one.version == 4
    others = {
        upload_task_uuid(b"s", 1, "acme", b"h" * 32, 2),
        upload_task_uuid(b"s", 1, "other", b"h" * 32, 1),
        upload_task_uuid(b"s", 2, "acme", b"h" * 32, 1),
        upload_task_uuid(b"s", 1, "acme", b"i" * 32, 1),
    }
    assert len(others | {one}) == 5


@pytest.mark.parametrize(
    ("code", "parameter", "expected"),
    [
        ("notFound", "inputs.image", True),
        ("notFound", None, True),
        ("notFound", "model", False),
        ("notFound", "lora.0.model", False),
        ("notFound", "taskUUID", False),
        ("validation", "inputs.image", False),
    ],
)
def test_error_that_may_be_about_media(code, parameter, expected):
    assert expected is is_about_media(code, parameter)
