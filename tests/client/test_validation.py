"""Validation before sending: every problem at once, with or without a schemas service, and never in the way."""

from __future__ import annotations

import asyncio

import pytest

from runware_jobs.client import RunOptions, RunwareError, StreamOptions, clear_validator_cache
from tests.support.side_service import SideAnswer

CURATED, COMMUNITY = "runware:400@1", "civitai:133005@782002"
SCHEMA = {
    "type": "object",
    "properties": {
        "taskType": {"const": "imageInference"},
        "taskUUID": {"type": "string"},
        "model": {"type": "string"},
        "positivePrompt": {"type": "string", "minLength": 2},
        "width": {"type": "integer", "minimum": 64, "maximum": 2048, "multipleOf": 16},
        "scheduler": {"enum": ["Euler", "DDIM"]},
        "deliveryMethod": {"enum": ["sync", "async"]},
        "inputs": {
            "type": "object",
            "properties": {"image": {"type": "string"}},
            "required": ["image"],
            "additionalProperties": False,
        },
    },
    "required": ["taskType", "positivePrompt", "width"],
    "additionalProperties": False,
}
RESOLVED = SideAnswer({"requestSchema": SCHEMA, "responseSchema": None, "documentation": "https://docs/x"})
PARAMS = {"taskType": "imageInference", "model": COMMUNITY, "positivePrompt": "a lighthouse", "width": 512}
KEYS = ["message", "path", "rule", "rule_definition"]


@pytest.fixture(autouse=True)
def _no_schema_is_kept():
    clear_validator_cache()
    yield
    clear_validator_cache()


@pytest.fixture
def validating(open_side_client, http_platform, answer_with):
    """A client that validates, in front of a platform that answers every task at once."""
    http_platform.script = lambda tasks: answer_with(
        {"data": [{**task, "status": "success", "imageURL": "https://x.example/i.png"} for task in tasks]}
    )
    return open_side_client(validate=True)


async def refused(client, params, options=None):
    with pytest.raises(RunwareError) as raised:
        await client.run(params, options)
    assert raised.value.code == "validation"
    return raised.value


# ---- what is told -----------------------------------------------------------------------------


async def test_all_problems_are_told_at_once_and_nothing_is_sent(validating, side_service, http_platform):
    side_service.answers(RESOLVED)

    error = await refused(
        validating,
        {"taskType": "imageInference", "model": COMMUNITY, "width": 3, "schedular": "Euler", "inputs": {}},
    )

    assert [(entry["path"], entry["rule"]) for entry in error.validation_errors] == [
        ("inputs.image", "required"),
        ("positivePrompt", "required"),
        ("schedular", "additionalProperties"),
        ("width", "multipleOf"),
        ("width", "minimum"),
    ]
    assert [list(entry) for entry in error.validation_errors] == [KEYS] * 5
    assert all(entry["message"] in error.message for entry in error.validation_errors)
    assert error.message.startswith("5 problems with the parameters of imageInference")
    assert (error.task_type, error.parameter) == ("imageInference", "inputs.image")
    assert error.documentation == "https://docs/x#request-inputs-image"
    assert http_platform.requests == []


async def test_rule_definition_is_the_schemas_own(validating, side_service):
    side_service.answers(RESOLVED)

    error = await refused(validating, {**PARAMS, "width": 4096, "scheduler": "LMS"})

    assert {entry["rule"]: entry["rule_definition"] for entry in error.validation_errors} == {
        "maximum": 2048,
        "enum": ["Euler", "DDIM"],
    }


@pytest.mark.parametrize(
    ("name", "meant"),
    [("positvePrompt", "positivePrompt"), ("positive_prompt", "positivePrompt"), ("Width", "width")],
)
async def test_misspelt_parameter_names_the_nearest_known_one(validating, side_service, name, meant):
    side_service.answers(RESOLVED)

    error = await refused(validating, {**PARAMS, name: 512})

    assert f'"{name}" is not known here: did you mean "{meant}"?' in error.message
    assert error.parameter == name


async def test_parameter_unlike_any_other_is_told_with_the_known_ones(validating, side_service):
    side_service.answers(RESOLVED)

    error = await refused(validating, {**PARAMS, "zzz": 1})

    assert '"positivePrompt"' in error.message
    assert '"scheduler"' in error.message


async def test_message_holds_no_whole_value(validating, side_service):
    side_service.answers(RESOLVED)
    secret = "sk-live-" + "x" * 100

    error = await refused(validating, {**PARAMS, "width": secret, "scheduler": secret, "inputs": [secret]})

    assert len(error.validation_errors) == 3
    assert secret not in str(error.validation_errors) + error.message


async def test_message_of_many_problems_stays_readable(validating, side_service):
    side_service.answers(RESOLVED)

    error = await refused(validating, {**PARAMS, **{f"zzz{n}": n for n in range(30)}})

    assert len(error.validation_errors) == 30
    assert len(error.message.splitlines()) == 22
    assert "and 10 more" in error.message


# ---- when it is done --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of_client", "of_call", "is_checked"),
    [
        (False, None, False),
        (False, True, True),
        (True, None, True),
        (True, False, False),
    ],
)
async def test_call_overrides_the_client_and_none_inherits(
    open_side_client, side_service, http_platform, answer_with, of_client, of_call, is_checked
):
    side_service.answers(RESOLVED)
    http_platform.script = lambda tasks: answer_with({"data": [{**tasks[0], "imageURL": "u"}]})
    client = open_side_client(validate=of_client)

    asking = client.run({**PARAMS, "width": 3}, RunOptions(validate=of_call))

    if is_checked:
        with pytest.raises(RunwareError):
            await asking
    else:
        assert len(await asking) == 1
    assert len(side_service.requests) == is_checked


async def test_right_parameters_are_sent(validating, side_service, http_platform):
    side_service.answers(RESOLVED)

    await validating.run(PARAMS)

    assert http_platform.requests[0][0]["width"] == 512
    assert side_service.paths == ["/schemas/resolve/civitai%3A133005%40782002"]


async def test_delivery_that_the_client_adds_is_no_problem_of_the_caller(validating, side_service):
    properties = {name: rule for name, rule in SCHEMA["properties"].items() if name != "deliveryMethod"}
    side_service.answers(SideAnswer({"requestSchema": {**SCHEMA, "properties": properties}}))

    assert len(await validating.run(PARAMS)) == 1


async def test_stream_is_validated(validating, side_service):
    side_service.answers(SideAnswer(status=500))

    with pytest.raises(RunwareError, match="messages"):
        await validating.stream({"model": "google:gemma@4-31b"})


@pytest.mark.parametrize("answer", [SideAnswer(status=500), RESOLVED], ids=["offline", "live"])
async def test_right_stream_passes(validating, side_service, http_platform, answer_with, answer):
    side_service.answers(answer)
    http_platform.script = lambda _: answer_with(b'data: {"delta":{"text":"hi"}}\n\ndata: [DONE]\n\n')
    params = {"model": "google:gemma@4-31b", "messages": [{"role": "user", "content": "hi"}]}
    if answer is RESOLVED:  # a schema with a list of deliveries that leaves streams out
        params = {**PARAMS, "model": COMMUNITY}

    stream = await validating.stream(params, StreamOptions(validate=True))

    assert await stream.text() == "hi"


async def test_utility_is_validated_by_the_bundle(validating, side_service, http_platform):
    with pytest.raises(RunwareError) as raised:
        await validating.model_search({"category": "smell", "limit": "ten"})

    assert [entry["path"] for entry in raised.value.validation_errors] == ["category", "limit"]
    assert raised.value.task_type == "modelSearch"
    assert (http_platform.requests, side_service.requests) == ([], [])


@pytest.mark.parametrize(
    ("method", "params"),
    [
        (
            "model_search",
            {"search": "portrait", "category": "checkpoint", "architecture": "sdxl", "limit": 10},
        ),
        ("model_search", {"tags": ["x"], "visibility": "all"}),
        ("image_upload", {"image": "https://example.com/photo.jpg"}),
        ("media_storage", {"media": "https://example.com/photo.jpg"}),
        ("account_management", {"operation": "getDetails"}),
        ("get_task_details", {"taskUUID": "0b6b6b6e-1111-4222-8333-444444444444"}),
    ],
)
async def test_right_utility_is_sent(validating, http_platform, answer_with, method, params):
    http_platform.script = lambda tasks: answer_with({"data": [tasks[0]]})

    assert len(await getattr(validating, method)(params)) == 1


# ---- where schemas come from ------------------------------------------------------------------

UNUSABLE = [
    pytest.param(None, id="hang-up"),
    pytest.param(SideAnswer(status=500), id="500"),
    pytest.param(SideAnswer(status=429), id="429"),
    pytest.param(SideAnswer(status=302, headers={"location": "/x"}), id="302"),
    pytest.param(SideAnswer(b"<html>"), id="html"),
    pytest.param(SideAnswer([]), id="list"),
    pytest.param(SideAnswer({"requestSchema": "x"}), id="schema-of-text"),
    pytest.param(SideAnswer({"requestSchema": {"type": "no-such-type"}}), id="no-schema"),
    pytest.param(SideAnswer({"requestSchema": {"$schema": {}}}), id="schema-of-no-draft"),
]


@pytest.mark.parametrize("answer", UNUSABLE)
async def test_curated_model_is_validated_offline(validating, side_service, http_platform, answer):
    side_service.answers(answer)

    error = await refused(validating, {"model": CURATED, "positivePrompt": "a", "widht": 512})

    assert 'did you mean "width"' in error.message
    assert error.documentation.startswith("https://runware.ai/docs/models/bfl-flux-2-dev")
    assert http_platform.requests == []


async def test_curated_slug_is_validated_offline(validating, side_service):
    side_service.answers(SideAnswer(status=500))

    await refused(validating, {"model": "bfl-flux-2-dev", "positivePrompt": "a", "widht": 512})


async def test_community_model_is_validated_offline_where_its_air_names_the_architecture(
    validating, side_service
):
    side_service.answers(SideAnswer(status=500))
    params = {**PARAMS, "model": "runware:exactly-illustrative@my-trained-style"}

    await refused(validating, {**params, "positivePromt": "a"})
    assert len(await validating.run({**params, "height": 512})) == 1


@pytest.mark.parametrize("answer", UNUSABLE)
async def test_community_model_is_left_to_the_platform_offline(validating, side_service, answer):
    side_service.answers(answer)

    assert len(await validating.run({**PARAMS, "zzz": 1})) == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(SideAnswer(status=404), id="404"),
        pytest.param(SideAnswer({"requestSchema": None}), id="null"),
    ],
)
async def test_model_that_the_service_does_not_know_is_left_to_the_platform(validating, side_service, answer):
    side_service.answers(answer)

    assert len(await validating.run({**PARAMS, "zzz": 1})) == 1
    assert len(await validating.run({**PARAMS, "zzz": 1})) == 1
    assert len(side_service.requests) == 1


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "https://elsewhere.example/schema.json"},
        {"properties": {"positivePrompt": {"pattern": r"\p{L}+"}}},
    ],
)
async def test_schema_that_cannot_be_applied_is_left_to_the_platform(validating, side_service, schema):
    side_service.answers(SideAnswer({"requestSchema": schema}))

    assert len(await validating.run(PARAMS)) == 1
    assert len(side_service.requests) == 1


async def test_task_without_a_model_is_left_to_the_platform(validating, side_service):
    params = {"taskType": "removeBackground", "inputImage": "https://example.com/photo.jpg"}

    assert len(await validating.run(params)) == 1
    assert side_service.requests == []


async def test_live_schema_comes_before_the_bundled_one(validating, side_service):
    side_service.answers(
        SideAnswer(
            {
                "requestSchema": {
                    **SCHEMA,
                    "properties": {**SCHEMA["properties"], "launchedToday": {"type": "integer"}},
                }
            }
        )
    )

    assert len(await validating.run({**PARAMS, "model": CURATED, "launchedToday": 1})) == 1


@pytest.mark.parametrize(
    "params",
    [
        {"positivePrompt": "a", "checkNSFW": True, "seedImage": "u", "returnBase64Image": True},
        {"positivePrompt": "a", "width": 512, "height": 512, "scheduler": "DPMSolverMultistep"},
    ],
)
async def test_legacy_parameters_and_values_pass_offline(validating, side_service, params):
    side_service.answers(SideAnswer(status=500))

    assert len(await validating.run({"model": CURATED, **params})) == 1


async def test_legacy_task_type_has_its_own_bundled_schema(validating, side_service):
    params = {"taskType": "imageControlNetPreProcess", "model": CURATED, "preProcessorType": "canny"}

    error = await refused(validating, params)
    assert [entry["path"] for entry in error.validation_errors] == ["inputImage", "model"]
    assert side_service.requests == []


# ---- what is kept -----------------------------------------------------------------------------


async def test_schema_is_fetched_once_for_the_process(validating, open_side_client, side_service):
    side_service.answers(RESOLVED)

    await validating.run(PARAMS)
    await validating.run(PARAMS)
    await open_side_client(validate=True).run(PARAMS)

    assert len(side_service.requests) == 1


async def test_tasks_that_begin_together_share_one_fetch(validating, side_service):
    side_service.answers(RESOLVED)

    await asyncio.gather(*[validating.run(PARAMS) for _ in range(20)])

    assert len(side_service.requests) == 1


async def test_cleared_cache_fetches_again(validating, side_service):
    side_service.answers(RESOLVED)
    await validating.run(PARAMS)

    clear_validator_cache()
    await validating.run(PARAMS)

    assert len(side_service.requests) == 2


async def test_slow_service_costs_seconds_once_and_not_a_task(validating, side_service):
    async def never(_):
        await asyncio.Event().wait()

    side_service.script = never

    for _ in range(5):
        await refused(validating, {"model": CURATED, "positivePrompt": "a", "widht": 512})

    assert len([path for path in side_service.paths if "resolve" in path]) == 1
