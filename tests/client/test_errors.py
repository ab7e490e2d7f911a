"""Errors: twelve codes, recognised by shape, carried over process boundaries."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runware_jobs.client import (
    ConfigurationError,
    ErrorCode,
    LogEntry,
    RunwareError,
    SDKConfig,
    create_runware_error,
    is_runware_error,
)
from runware_jobs.client.backoff import IS_REPEATED, parse_retry_after, retry_delay_s
from runware_jobs.client.config import read_config
from runware_jobs.client.envelope import read_envelope
from runware_jobs.client.error_codes import derive_code
from runware_jobs.client.fence import SendFence
from runware_jobs.client.log import CATEGORIES, ClientLog, masked

RAW_CODES = [
    ("aborted", "aborted"),
    ("connectionLost", "connection"),
    ("disconnected", "connection"),
    ("sendFailed", "connection"),
    ("insufficientCredits", "quota"),
    ("providerInsufficientCredits", "quota"),
    ("quotaExceeded", "quota"),
    ("rateLimit", "rateLimit"),
    ("providerRateLimitExceeded", "rateLimit"),
    ("inferenceRateLimitRequestTooLarge", "rateLimit"),
    ("providerContentPolicyViolation", "safety"),
    ("invalidProviderContent", "safety"),
    ("invalidApiKey", "auth"),
    ("tokenExpired", "auth"),
    ("permissionDenied", "auth"),
    ("timeoutProvider", "timeout"),
    ("providerGatewayTimeout", "timeout"),
    ("authTimeout", "timeout"),
    ("webhookTimeout", "timeout"),
    ("taskNotFound", "notFound"),
    ("mediaExpired", "notFound"),
    ("unknownModel", "notFound"),
    ("internalServerError", "serverError"),
    ("serviceUnavailable", "serverError"),
    ("providerAuthenticationFailed", "provider"),
    ("noAvailableServer", "provider"),
    ("conflictTaskUUID", "validation"),
    ("missingPositivePrompt", "validation"),
    ("maxRequestSize", "validation"),
    ("invalidDataset", "validation"),
    ("neverHeardOf", "unknown"),
]


@pytest.mark.parametrize(("raw_code", "expected"), RAW_CODES)
def test_raw_code_has_its_stable_code(raw_code, expected):
    assert derive_code(raw_code) == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, "auth"),
        (402, "quota"),
        (404, "notFound"),
        (429, "rateLimit"),
        (503, "serverError"),
        (504, "timeout"),
        (200, "unknown"),
    ],
)
def test_status_speaks_where_the_raw_code_says_nothing(status, expected):
    assert derive_code("neverHeardOf", status) == expected
    assert derive_code("invalidModel", status) == "validation"


def test_there_are_twelve_codes_and_each_says_whether_it_is_tried_again():
    assert len(ErrorCode) == 12
    assert set(IS_REPEATED) == set(ErrorCode)


@pytest.mark.parametrize(
    "copied", [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy], ids=["pickle", "copy"]
)
def test_error_survives_a_process_boundary(copied):
    error = create_runware_error(
        "invalidWidth",
        "bad",
        parameter=("width", "height"),
        task_uuid="a",
        status_code=400,
        results=[{"x": 1}],
    )
    again = copied(error)

    assert type(again) is RunwareError
    assert vars(again) == vars(error)
    assert str(again) == "bad"
    assert type(copied(ConfigurationError("x"))) is ConfigurationError


def test_error_is_recognised_by_shape():
    class Foreign(Exception):
        code, message, retryable = "timeout", "m", True

    class OtherCode(Exception):
        code, message, retryable = "ENOENT", "m", True

    assert is_runware_error(create_runware_error("x", "y"))
    assert is_runware_error(Foreign())
    assert not is_runware_error(OtherCode())
    assert not is_runware_error("timeout")


def test_raw_code_is_no_part_of_the_interface():
    error = create_runware_error("conflictTaskUUID", "m")

    assert not [
        name
        for name in vars(error)
        if not name.startswith("_") and getattr(error, name) == "conflictTaskUUID"
    ]


def test_documentation_points_to_the_model():
    assert create_runware_error("x", "m", model="runware:400@1").documentation.endswith("/bfl-flux-2-dev")
    assert create_runware_error("x", "m").documentation.endswith("/errors")


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_reading_an_answer_never_raises(body):
    read_envelope(body, status_code=200)


def test_envelope_loses_nothing():
    reply = read_envelope(
        b'[{"data":[{"taskUUID":"a"}],"errors":[{"code":"x","taskUUID":"a"}]},{"error":{"code":"y"}}]'
    )

    assert (len(reply.of("a").items), len(reply.of("a").errors), len(reply.unscoped)) == (1, 1, 1)


# ---- options -----------------------------------------------------------------------------------


def test_missing_key_says_where_it_may_come_from(monkeypatch):
    monkeypatch.delenv("RUNWARE_API_KEY", raising=False)

    with pytest.raises(ConfigurationError, match="RUNWARE_API_KEY"):
        read_config({})


def test_key_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("RUNWARE_API_KEY", "from-environment\n")

    assert read_config({}).api_key == "from-environment"
    assert "from-environment" not in repr(read_config({}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tranport", "rest"),
        ("transport", "carrier pigeon"),
        ("timeout", 0),
        ("max_retries", -1),
        ("http_base_url", "api.runware.ai"),
        ("ws_base_url", "https://ws-api.runware.ai/v1"),
        ("submit_group_size", 0),
        ("retry_strategy", "eager"),
        ("api_key", "ключ"),
    ],
)
def test_bad_option_is_named(name, value):
    with pytest.raises(ConfigurationError, match=name.replace("api_key", "API key")) as raised:
        read_config({"api_key": "k", name: value})
    assert raised.value.parameter == name


def test_defaults_are_those_of_the_documentation():
    config = SDKConfig(api_key="k")

    assert (config.transport, config.timeout, config.poll_timeout, config.auth_timeout) == (
        "websocket",
        1_200_000,
        1_200_000,
        15_000,
    )
    assert (config.max_retries, config.retry_delay, config.retry_strategy) == (3, 1_000, "exponential")


# ---- time --------------------------------------------------------------------------------------


def test_fence_believes_the_stricter_clock():
    wall, steady = [1_000.0], [50.0]
    fence = SendFence(1_010.0, wall=lambda: wall[0], steady=lambda: steady[0])
    assert not fence.has_passed()

    steady[0] += 11  # the machine slept, or somebody set the wall clock back
    assert fence.has_passed()

    steady[0], wall[0] = 50.0, 1_010.0
    assert fence.has_passed()


def test_no_fence_never_passes():
    assert not SendFence(None).has_passed()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("7", 7.0),
        ("1.5", 1.5),
        ("soon", None),
        ("-3", None),
        ("99999999", 3600.0),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_read_within_reason(value, expected):
    assert parse_retry_after(value) == expected


@pytest.mark.parametrize("strategy", ["exponential", "linear"])
def test_delays_grow_and_are_capped(strategy):
    delays = [
        retry_delay_s(attempt, base_ms=1_000, strategy=strategy, rng=lambda: 1.0)
        for attempt in (0, 1, 5, 500)
    ]

    assert delays == sorted(delays)
    assert delays[0] == 1.0
    assert delays[-1] == 30.0


# ---- logs --------------------------------------------------------------------------------------


def test_keys_and_media_never_reach_a_sink():
    told = masked(
        {
            "apiKey": "k",
            "headers": {"Authorization": "Bearer k"},
            "image": "data:image/png;base64,AAAA",
            "b": "A" * 9_999,
            "raw": b"123",
        }
    )

    assert told == {
        "apiKey": "***",
        "headers": {"Authorization": "***"},
        "image": "<data URI of 26 characters>",
        "b": "<9999 characters>",
        "raw": "<3 bytes>",
    }


def test_log_is_silent_without_debug_and_survives_its_sink(caplog):
    heard: list[LogEntry] = []
    ClientLog(enabled=False, sink=heard.append).write("info", "x")
    ClientLog(enabled=True, sink=lambda _: 1 / 0).write("info", "x")
    ClientLog(enabled=True, sink=heard.append).write("auth", "authenticated", {"apiKey": "k"})

    assert [(entry.category, entry.message, entry.data) for entry in heard] == [
        ("auth", "authenticated", {"apiKey": "***"})
    ]
    assert heard[0].timestamp.tzinfo is not None
    assert len(CATEGORIES) == 10
    assert "log_sink_failed" in caplog.text
