"""Errors: twelve codes, recognised by shape, carried over process boundaries."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runware_jobs.client import (
    ConfigurationError,
    ErrorCode,
    RunwareError,
    SDKConfig,
    create_runware_error,
    is_runware_error,
)
from runware_jobs.client.config import read_config
from runware_jobs.client.error_codes import derive_code
from runware_jobs.client.errors import error_from_wire
from runware_jobs.client.wire.envelope import read_envelope

# PROTOCOL 8, line by line; where a name is listed under another code there, the comment says why.
RAW_CODES = {
    "aborted": ["aborted"],
    "connection": [
        *(
            "connectionFailed",
            "notConnected",
            "notOpen",
            "reconnectionFailed",
            "connectionLost",
            "disconnected",
        ),
        "sendFailed",  # coined by an SDK, unknown to its own table
    ],
    "quota": [
        *("insufficientCredits", "providerInsufficientCredits", "thirdPartyInsufficientCredits"),
        *(
            "textInferenceVideoInputInsufficientCredits",
            "quotaExceeded",
            "paymentRequired",
            "environmentPaused",
        ),
        *("someOtherQuota", "emptyBalance"),
    ],
    "rateLimit": [
        *("rateLimitExceeded", "inferenceRateLimitExceeded", "providerRateLimitExceeded"),
        "inferenceRateLimitRequestTooLarge",
        "rateLimit",  # spelled alone it has no capital R
    ],
    "safety": [
        *("contentPolicyViolation", "providerContentPolicyViolation", "sensitiveContentDetected"),
        *(
            "unsafeContentDetected",
            "nsfwContentDetected",
            "promptBlocked",
            "imageBlocked",
            "moderationFailed",
        ),
        "invalidProviderContent",
    ],
    "auth": [
        *("invalidApiKey", "missingApiKey", "unauthorized", "forbidden", "permissionDenied"),
        *("insufficientPermissions", "authenticationFailed", "authFailed", "invalidAuthentication"),
        *("invalidCredentials", "missingAuthentication"),
        *("tokenExpired", "tokenInvalid", "tokenMissing", "tokenRevoked"),
        *("accountSuspended", "accountDisabled", "organizationSuspended", "organizationDisabled"),
        *("workspaceSuspended", "workspaceDisabled"),
    ],
    "timeout": [
        *("timeout", "providerTimeout", "providerGatewayTimeout", "webhookTimeout", "requestTimeout"),
        "timeoutProvider",  # the docs' own example has no capital T
        "authTimeout",  # a slow handshake is no verdict on the key
    ],
    "notFound": [
        *("taskCancelled", "taskFailedOrNotFound", "unknownModel", "modelNotFound", "taskNotFound"),
        *("mediaNotFound", "providerNotFound", "taskExpired", "mediaExpired"),
    ],
    "serverError": [
        *("internalServerError", "serviceUnavailable", "serverUnavailable", "standardError", "unknownError"),
        *("undefinedError", "defaultError", "unrecognizedResponse", "errorRetrievingAccountManagement"),
        "parseError",  # coined by an SDK, unknown to its own table
    ],
    "provider": [
        *("inferenceError", "processingFailed", "taskFailed", "downloadFailed", "uploadFailed"),
        *("noAvailableServer", "modelUnavailable", "modelDisabled", "modelNotReady"),
        *("mediaStorageFileCouldNotBeMoved", "providerError", "providerUnavailable", "providerBadGateway"),
        *("providerInternalError", "providerUnknownError", "providerAuthenticationFailed"),
    ],
    "validation": [
        *("invalidModel", "invalidPositivePrompt", "missingPositivePrompt", "conflictTaskUUID"),
        *("duplicatePreloadModelAIR", "unsupportedParameter", "unsupportedTaskType", "unsupportedDuration"),
        *("valueTooLarge", "arrayTooSmall", "unknownParameter", "incompatibleParameters"),
        *("mismatchProviderSettingsProvider", "unknownProviderSettingsProvider", "transparentModelMismatch"),
        *(
            "modelOwnershipValidationError",
            "modelAlreadyExists",
            "maxLycorisModelsExceeded",
            "maxRequestSize",
        ),
        *("validationFailed", "invalidDataset", "someTaskConflict"),
    ],
    "unknown": ["neverHeardOf", ""],
}
RETRYABLE_CODES = {"connection", "rateLimit", "timeout", "serverError", "provider"}


@pytest.mark.parametrize(
    ("raw_code", "expected"), [(raw, code) for code, raws in RAW_CODES.items() for raw in raws]
)
def test_raw_code_has_its_stable_code(raw_code, expected):
    assert derive_code(raw_code) == expected


@pytest.mark.parametrize("code", RAW_CODES)
def test_code_says_whether_another_try_has_a_chance(code):
    errors = [create_runware_error(raw, "m") for raw in RAW_CODES[code] if raw not in ENDED_TASKS]

    assert {error.retryable for error in errors} == {code in RETRYABLE_CODES}


ENDED_TASKS = ("taskCancelled", "taskFailedOrNotFound")


@pytest.mark.parametrize("raw_code", ENDED_TASKS)
def test_task_that_is_over_may_be_tried_as_a_new_one(raw_code):
    error = create_runware_error(raw_code, "m")

    assert (error.code, error.retryable) == ("notFound", True)


@pytest.mark.parametrize("raw_code", ["", "httpError", "neverHeardOf"])
@pytest.mark.parametrize("status", [500, 502, 503])
def test_bare_5xx_is_a_server_error_that_can_be_tried_again(raw_code, status):
    error = create_runware_error(raw_code, "m", status_code=status)

    assert (error.code, error.retryable) == ("serverError", True)


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


def test_there_are_twelve_codes():
    assert set(ErrorCode) == set(RAW_CODES)
    assert len(ErrorCode) == 12


ATTRIBUTES = {
    *("code", "retryable", "message", "parameter", "documentation", "task_uuid", "task_type", "status_code"),
    *("validation_errors", "request_id", "problem_type", "retry_after_s", "results"),
}


@pytest.mark.parametrize(
    "copied", [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy], ids=["pickle", "copy"]
)
def test_error_survives_a_process_boundary(copied):
    error = create_runware_error(
        "invalidWidth",
        "bad",
        parameter=("width", "height"),
        task_type="imageInference",
        task_uuid="a",
        model="runware:400@1",
        status_code=400,
        validation_errors=[{"message": "m", "path": "width", "rule": "minimum", "rule_definition": 64}],
        request_id="r",
        problem_type="https://x.example/problem",
        retry_after_s=7.0,
        results=[{"x": 1}],
    ).changed(others=[create_runware_error("invalidHeight", "also bad")])
    error.add_note("in batch 7")
    again = copied(error)

    assert type(again) is RunwareError
    assert {name: repr(value) for name, value in vars(again).items()} == {
        name: repr(value) for name, value in vars(error).items()
    }
    assert vars(again).keys() >= ATTRIBUTES
    assert (str(again), again.code, again.others[0].message) == ("bad", "validation", "also bad")
    assert again.__notes__ == ["in batch 7"]
    assert type(copied(ConfigurationError("x"))) is ConfigurationError


def test_error_survives_a_process():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        error = pool.submit(create_runware_error, "timeoutProvider", "slow", task_uuid="a").result()

    assert is_runware_error(error)
    assert (error.code, error.retryable, error.task_uuid) == ("timeout", True, "a")


def test_error_is_recognised_by_shape():
    class Foreign(Exception):
        code, message, retryable = "timeout", "m", True

    class OtherCode(Exception):
        code, message, retryable = "ENOENT", "m", True

    fields = {"code": "timeout", "message": "m", "retryable": True}

    assert is_runware_error(create_runware_error("x", "y"))
    assert is_runware_error(Foreign())
    assert is_runware_error(SimpleNamespace(**fields))
    assert is_runware_error(fields)
    assert not is_runware_error(OtherCode())
    assert not is_runware_error({**fields, "code": "ENOENT"})
    assert not is_runware_error({"code": "timeout"})
    assert not is_runware_error("timeout")
    assert not is_runware_error(None)


def test_cause_does_not_make_an_error_one_of_ours():
    error = ValueError("mine")
    error.__cause__ = create_runware_error("x", "y")

    assert not is_runware_error(error)


def test_raw_code_is_no_part_of_the_interface():
    error = create_runware_error("conflictTaskUUID", "m")

    assert not [
        name
        for name in vars(error)
        if not name.startswith("_") and getattr(error, name) == "conflictTaskUUID"
    ]


DOCUMENTATION = {
    "model by AIR": ({"model": "runware:400@1"}, "/docs/models/bfl-flux-2-dev"),
    "model by slug": ({"model": "bfl-flux-2-dev"}, "/docs/models/bfl-flux-2-dev"),
    "its parameter": (
        {"model": "runware:400@1", "parameter": "inputs.image"},
        "/docs/models/bfl-flux-2-dev#request-inputs-image",
    ),
    "utility": ({"task_type": "modelUpload", "parameter": "air"}, "/model-upload#request-air"),
    "several parameters": (
        {"model": "runware:400@1", "parameter": ["a", "b"]},
        "/docs/models/bfl-flux-2-dev",
    ),
    "unknown model": ({"model": "nobody:1@1", "parameter": "width"}, "/errors"),
    "nothing": ({}, "/errors"),
    "what the platform says": (
        {"documentation": "https://x.example/d", "model": "runware:400@1"},
        "x.example/d",
    ),
}


@pytest.mark.parametrize(("fields", "expected"), DOCUMENTATION.values(), ids=DOCUMENTATION)
def test_documentation_points_to_the_nearest_page(fields, expected):
    assert create_runware_error("invalidParameter", "m", **fields).documentation.endswith(expected)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("width", "width"),
        (["width", "height"], ("width", "height")),
        ([], None),
        (None, None),
        ([1, "a"], ("a",)),
    ],
)
def test_parameter_is_one_name_or_a_tuple_of_them(sent, expected):
    assert error_from_wire({"code": "invalidSize", "message": "m", "parameter": sent}).parameter == expected


def test_error_of_a_conflict_takes_its_scope_from_the_context():
    entry = {"code": "conflictTaskUUID", "message": "m", "context": {"taskUUID": "a", "taskType": "caption"}}
    error = error_from_wire(entry)

    assert (error.task_uuid, error.task_type) == ("a", "caption")


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
