"""Large media out of params and back in: what goes over the wire is what the producer gave."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runware_jobs.core import inputs
from runware_jobs.core.inputs import (
    LARGE_BYTES,
    data_uri,
    extract_inputs,
    referenced_inputs,
    restore_inputs,
)
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

    assert set(stored) == referenced_inputs(slim)
    assert params == restore_inputs(slim, stored.__getitem__)


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
