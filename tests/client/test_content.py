"""`client.content`: the catalogue, over plain HTTP, for reading only."""

from __future__ import annotations

import asyncio
import inspect

import pytest
import runware

from runware_jobs.client import RunwareError
from runware_jobs.client.services.content import Content
from tests.support.side_service import SideAnswer

MODELS = [{"model": "flux-1-dev", "status": "live"}, {"model": "old", "status": "compatible-only"}]
AIR = "runware:400@1"
AIR_IN_PATH = "runware%3A400%401"


@pytest.fixture
def content(open_side_client):
    return open_side_client().content


def test_methods_are_those_that_users_know():
    official = {
        name: list(inspect.signature(getattr(runware.ContentClient, name)).parameters)
        for name in dir(runware.ContentClient)
        if not name.startswith("_")
    }

    assert official == {name: list(inspect.signature(getattr(Content, name)).parameters) for name in official}


async def test_filters_reach_the_service_under_its_names_and_no_key_does(content, side_service):
    side_service.answers(SideAnswer(MODELS))

    await content.list_models(
        {"capability": "io:text-to-image", "search": "flux & co", "limit": 3, "offset": 0, "creator": None}
    )

    (request,) = side_service.requests
    assert (request.method, request.path) == ("GET", "/content/models")
    assert request.query == {
        "capability": "io:text-to-image",
        "q": "flux & co",
        "limit": "3",
        "offset": "0",
    }
    assert "authorization" not in request.headers
    assert "test-key" not in str(request)


async def test_models_that_are_only_compatible_are_hidden(content, side_service):
    side_service.answers(SideAnswer(MODELS))

    assert await content.list_models() == MODELS[:1]


async def test_status_filter_shows_what_it_asks_for(content, side_service):
    side_service.answers(SideAnswer(MODELS))

    assert await content.list_models({"status": "compatible-only"}) == MODELS


async def test_page_keeps_the_platforms_total(content, side_service):
    side_service.answers(SideAnswer({"total": 2, "limit": 25, "offset": 0, "items": MODELS}))

    page = await content.list_models({"paginate": True, "limit": 25, "offset": 0})

    assert page == {"total": 2, "limit": 25, "offset": 0, "items": MODELS[:1]}
    assert side_service.requests[0].query == {"paginate": "true", "limit": "25", "offset": "0"}


async def test_paginate_false_is_a_plain_list(content, side_service):
    side_service.answers(SideAnswer(MODELS))

    assert await content.list_models({"paginate": False}) == MODELS[:1]
    assert side_service.requests[0].query == {}


@pytest.mark.parametrize(
    ("ask", "answer", "path"),
    [
        (lambda c: c.get_model(AIR), {"air": AIR}, f"models/{AIR_IN_PATH}"),
        (lambda c: c.get_model("flux-1-dev"), {"air": AIR}, "models/flux-1-dev"),
        (lambda c: c.get_model("a/b?c#d"), {}, "models/a%2Fb%3Fc%23d"),
        (lambda c: c.get_model_examples(AIR), [{"id": "1"}], f"models/{AIR_IN_PATH}/examples"),
        (lambda c: c.get_model_pricing("flux-1-dev"), {"price": "1"}, "models/flux-1-dev/pricing"),
        (lambda c: c.get_model_guides("flux-1-dev"), [{"slug": "g"}], "models/flux-1-dev/guides"),
        (lambda c: c.list_capabilities(), [{"id": "io:x", "label": "X"}], "capabilities"),
        (lambda c: c.list_collections(), [{"id": "best", "models": MODELS}], "collections"),
        (lambda c: c.get_collection("best"), {"id": "best", "models": MODELS}, "collections/best"),
        (lambda c: c.list_creators(), [{"id": "google"}], "creators"),
        (lambda c: c.get_creator("google"), {"id": "google", "models": MODELS}, "creators/google"),
    ],
)
async def test_answer_comes_back_whole(content, side_service, ask, answer, path):
    side_service.answers(SideAnswer(answer))

    assert await ask(content) == answer
    assert side_service.paths == [f"/content/{path}"]


@pytest.mark.parametrize(
    ("ask", "name", "value"),
    [
        (lambda c, options: c.list_collections(options), "category", "image"),
        (lambda c, options: c.get_model_examples(AIR, options), "capability", "io:text-to-image"),
    ],
)
async def test_other_lists_have_filters_too(content, side_service, ask, name, value):
    side_service.answers(SideAnswer([]))

    assert await ask(content, {name: value}) == []
    assert side_service.requests[0].query == {name: value}


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("get_model", None),
        ("get_model_pricing", None),
        ("get_collection", None),
        ("get_creator", None),
        ("get_model_examples", []),
        ("get_model_guides", []),
    ],
)
async def test_what_does_not_exist_is_nothing(content, side_service, method, expected):
    side_service.answers(SideAnswer({"error": "not found"}, status=404))

    assert await getattr(content, method)("no-such") == expected


async def test_list_that_is_not_there_is_an_error(content, side_service):
    side_service.answers(SideAnswer({"error": "not found"}, status=404))

    with pytest.raises(RunwareError, match="not found") as raised:
        await content.list_creators()
    assert (raised.value.code, raised.value.status_code) == ("notFound", 404)


@pytest.mark.parametrize(
    ("options", "parameter", "told"),
    [
        ({"capabilty": "x"}, "capabilty", 'Did you mean "capability"'),
        ({"q": "flux"}, "q", "search"),
        ({"limit": "3"}, "limit", "whole number"),
        ({"limit": True}, "limit", "whole number"),
        ({"paginate": "true"}, "paginate", "True or False"),
        ({"capability": ["a", "b"]}, "capability", "text"),
    ],
)
async def test_wrong_filter_is_refused_before_anything_is_sent(
    content, side_service, options, parameter, told
):
    with pytest.raises(RunwareError, match=told) as raised:
        await content.list_models(options)

    assert (raised.value.code, raised.value.parameter) == ("validation", parameter)
    assert side_service.requests == []


@pytest.mark.parametrize("name", ["", ".", "..", None, 7])
async def test_name_that_would_lead_elsewhere_is_refused(content, side_service, name):
    with pytest.raises(RunwareError) as raised:
        await content.get_model(name)

    assert raised.value.code == "validation"
    assert side_service.requests == []


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(SideAnswer({"error": "down"}, status=500), id="500"),
        pytest.param(SideAnswer(b"<html>", status=502), id="502-html"),
        pytest.param(SideAnswer(b"<html>"), id="200-html"),
        pytest.param(SideAnswer([1]), id="list-for-an-object"),
        pytest.param(None, id="hang-up"),
    ],
)
async def test_question_is_asked_again_after_a_failure(content, side_service, first):
    side_service.answers(first, SideAnswer({"air": AIR}))

    assert await content.get_model(AIR) == {"air": AIR}
    assert len(side_service.requests) == 2


async def test_service_that_stays_down_is_a_server_error_with_its_status(open_side_client, side_service):
    side_service.answers(SideAnswer({"error": "down"}, status=503))

    with pytest.raises(RunwareError) as raised:
        await open_side_client(max_retries=2).content.list_creators()
    assert (raised.value.code, raised.value.status_code, raised.value.retryable) == ("serverError", 503, True)
    assert len(side_service.requests) == 3


async def test_refusal_is_not_asked_again(content, side_service):
    side_service.answers(SideAnswer({"message": "no such category"}, status=400))

    with pytest.raises(RunwareError, match="no such category") as raised:
        await content.list_models({"category": "smell"})
    assert raised.value.code == "validation"
    assert len(side_service.requests) == 1


async def test_pause_is_the_one_the_service_asks_for(open_side_client, side_service):
    entries = []
    client = open_side_client(debug=True, log_sink=entries.append)
    side_service.answers(SideAnswer(status=429, headers={"retry-after": "0.02"}), SideAnswer([]))

    assert await client.content.list_creators() == []
    assert [entry.data["pause_ms"] for entry in entries if entry.category == "retry"] == [20]


async def test_page_without_items_is_an_error(content, side_service):
    side_service.answers(SideAnswer({"total": 1}))

    with pytest.raises(RunwareError) as raised:
        await content.list_models({"paginate": True})
    assert raised.value.code == "serverError"


async def test_service_that_cannot_be_reached_is_a_connection_error(open_client):
    client = open_client(content_base_url="http://127.0.0.1:9", max_retries=0)

    with pytest.raises(RunwareError) as raised:
        await client.content.list_models()
    assert raised.value.code == "connection"


async def test_question_ends_when_the_client_is_closed(open_side_client, side_service):
    client = open_side_client()
    was_asked = asyncio.Event()

    async def never(_):
        was_asked.set()
        await asyncio.Event().wait()

    side_service.script = never
    asking = asyncio.create_task(client.content.get_model(AIR))
    await was_asked.wait()
    await client.close()

    with pytest.raises(RunwareError) as raised:
        await asking
    assert raised.value.code == "connection"
