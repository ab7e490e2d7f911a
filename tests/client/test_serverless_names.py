"""Serverless apps: what is wrong in the arguments themselves is told at once, and nothing is sent."""

from __future__ import annotations

import pytest

from runware_jobs.client import InvokeOptions, RunwareError
from tests.support.side_service import SideAnswer

APP, ENDPOINT = "my-app", "images/generate"
TASK_ID = "0b6b6b6e-1111-4222-8333-444444444444"
DONE = {"id": TASK_ID, "status": "completed", "appId": APP, "endpointPath": ENDPOINT}


@pytest.fixture
def client(open_side_client):
    return open_side_client()


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("app_id", "short"),
        ("app_id", "a" * 31),
        ("app_id", "1st-app"),
        ("app_id", "my-app-"),
        ("app_id", "My-App"),
        ("app_id", "my-app\n"),
        ("app_id", "my/../app"),
        ("app_id", None),
        ("endpoint_path", ""),
        ("endpoint_path", "/generate"),
        ("endpoint_path", "generate/"),
        ("endpoint_path", "a//b"),
        ("endpoint_path", "Generate"),
        ("endpoint_path", "a" * 65),
        ("endpoint_path", "/".join(["a" * 63] * 5)),
        ("endpoint_path", "../tasks"),
        ("environment", "-a"),
        ("environment", ""),
        ("environment", "a" * 64),
        ("environment", "Prod"),
        ("task_id", TASK_ID.upper()),
        ("task_id", "7"),
        ("task_id", ""),
    ],
)
async def test_wrong_name_is_refused_before_anything_is_sent(client, side_service, argument, value):
    arguments = {"app_id": APP, "endpoint_path": ENDPOINT, argument: value}

    with pytest.raises(RunwareError, match=argument) as raised:
        await client.invoke(**arguments)

    assert (raised.value.code, raised.value.parameter) == ("validation", argument)
    assert side_service.requests == []


@pytest.mark.parametrize(
    "names",
    [
        {"app_id": "a-2345"},
        {"app_id": "a" * 30},
        {"endpoint_path": "a" * 64},
        {"endpoint_path": "v1/images-2/x"},
        {"environment": "0"},
        {"environment": "pr-12_a.b"},
    ],
)
async def test_name_within_the_rules_is_sent(client, side_service, names):
    side_service.answers(SideAnswer(DONE))

    await client.invoke(**{"app_id": APP, "endpoint_path": ENDPOINT, **names})

    assert len(side_service.requests) == 1


async def test_payload_that_json_cannot_carry_is_named(client, side_service):
    with pytest.raises(RunwareError, match="payload") as raised:
        await client.invoke(APP, ENDPOINT, {"x": object()})

    assert (raised.value.code, raised.value.parameter) == ("validation", "payload")
    assert side_service.requests == []


@pytest.mark.parametrize(
    "options",
    [{"delivery_method": "stream"}, {"poll_interval": 0}, {"poll_timeout": -1}, {"timeout": 0}],
)
def test_option_out_of_range_is_refused(options):
    with pytest.raises(RunwareError) as raised:
        InvokeOptions(**options)
    assert raised.value.code == "validation"
