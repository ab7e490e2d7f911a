"""The live registry: fresh without making anybody wait, and never broken by what it is sent."""

from __future__ import annotations

import asyncio

import pytest

from runware_jobs.client import RunwareError, bundled_registry, resolve_task_type
from tests.support.side_service import SideAnswer

KNOWN, NEW = "runware:400@1", "new:1@1"
LIVE = {
    "version": "20270101000000",
    "models": {NEW: {"taskType": "audioInference", "id": "new-one"}},
    "architectureTaskTypes": {"sdxl": "imageInference", "brand-new": "videoInference"},
    "modalityTaskTypes": {"image": "imageInference", "smell": "smellInference"},
}


class Clock:
    """The registry's clock, moved by hand."""

    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def registry(open_side_client):
    """The registry of a client, by a clock that `registry.clock.now` moves."""
    client = open_side_client()
    registry = client._parts.registry
    registry._clock = Clock()
    return registry


def type_of(model, content):
    return resolve_task_type({"model": model}, content)


def test_bundle_lists_models_slugs_architectures_modalities_and_operations():
    registry = bundled_registry()

    assert registry.models[registry.air_of("bfl-flux-2-dev")].task_type == "imageInference"
    assert registry.architecture_task_types["sdxl"] == "imageInference"
    assert registry.modality_task_types["3d"] == "3dInference"
    assert registry.operation_task_types["caption-image"] == "caption"
    assert "image-inference" not in registry.operation_task_types


def test_operations_are_those_that_users_know():
    from runware import operation_task_types

    assert dict(bundled_registry().operation_task_types) == operation_task_types


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("bfl-flux-2-dev", KNOWN),
        (KNOWN, KNOWN),
        ("my-own", "my-own"),
        ("civitai:1@2", "civitai:1@2"),
        ("bfl-flux-2-dev@1", "bfl-flux-2-dev@1"),
    ],
)
def test_slug_becomes_an_air_and_everything_else_passes_unchanged(model, expected):
    assert bundled_registry().air_of(model) == expected


def test_architecture_is_no_model():
    with pytest.raises(RunwareError, match="taskType") as raised:
        resolve_task_type({"model": "sdxl"})
    assert (raised.value.code, raised.value.parameter) == ("notFound", "taskType")


async def test_newly_launched_model_is_usable_by_air_and_slug(registry, side_service):
    side_service.answers(SideAnswer(LIVE))

    by_air = await registry.for_params({"model": NEW})
    by_slug = await registry.for_params({"model": "new-one"})

    assert type_of(NEW, by_air) == type_of("new-one", by_slug) == "audioInference"
    assert by_slug.air_of("new-one") == NEW
    assert side_service.paths == ["/schemas/registry.json"]


async def test_newly_launched_model_runs(open_side_client, http_platform, side_service, answer_with):
    side_service.answers(SideAnswer(LIVE))
    http_platform.script = lambda tasks: answer_with(
        {"data": [{**tasks[0], "status": "success", "audioURL": "https://x.example/a.mp3"}]}
    )

    await open_side_client().run({"model": "new-one", "positivePrompt": "hum"})

    (task,) = http_platform.requests[0]
    assert (task["model"], task["taskType"]) == (NEW, "audioInference")


async def test_live_registry_lies_over_the_bundled_one(registry, side_service):
    side_service.answers(SideAnswer(LIVE))

    await registry.refresh()

    content = registry.content
    assert content.version == LIVE["version"]
    assert type_of(KNOWN, content) == "imageInference"
    assert content.architecture_task_types["brand-new"] == "videoInference"
    assert content.architecture_task_types["pony"] == "imageInference"
    assert content.modality_task_types["smell"] == "smellInference"
    assert content.operation_task_types["vectorize"] == "vectorize"


async def test_stale_copy_answers_at_once_while_one_refresh_runs(registry, side_service):
    may_answer, was_asked = asyncio.Event(), asyncio.Event()

    async def slow(_):
        was_asked.set()
        await may_answer.wait()
        return SideAnswer(LIVE)

    side_service.script = slow

    answers = [await registry.for_params({"model": KNOWN}) for _ in range(5)]
    await was_asked.wait()
    may_answer.set()
    await registry.current()

    assert {type_of(KNOWN, answer) for answer in answers} == {"imageInference"}
    assert len(side_service.requests) == 1
    fresh = await registry.for_params({"model": NEW})
    assert type_of(NEW, fresh) == "audioInference"


async def test_copy_is_fresh_for_five_minutes(registry, side_service):
    side_service.answers(SideAnswer(LIVE))
    await registry.current()

    registry._clock.now += 299
    await registry.current()
    assert len(side_service.requests) == 1

    registry._clock.now += 2
    await registry.current()
    assert len(side_service.requests) == 2


async def test_etag_saves_sending_what_is_known(registry, side_service):
    def answer(request):
        if request.headers.get("if-none-match") == '"v1"':
            return SideAnswer(status=304)
        return SideAnswer(LIVE, headers={"etag": '"v1"'})

    side_service.script = answer
    await registry.refresh()
    await registry.refresh()

    assert [request.headers.get("if-none-match") for request in side_service.requests] == [None, '"v1"']
    assert registry.content.knows(NEW)


async def test_refresh_asks_whatever_the_age(open_side_client, side_service):
    client = open_side_client()
    side_service.answers(SideAnswer(LIVE), SideAnswer({**LIVE, "version": "newer"}))

    await client.refresh_registry()
    await client.refresh_registry()

    assert client.registry.version == "newer"


async def test_refresh_is_answered_after_it_was_asked_for(registry, side_service):
    may_answer = asyncio.Event()
    versions = ["before", "after"]

    async def slow(_):
        version = versions.pop(0)
        await may_answer.wait()
        return SideAnswer({**LIVE, "version": version})

    side_service.script = slow
    await registry.for_params({"model": KNOWN})
    refreshing = asyncio.create_task(registry.refresh())
    await asyncio.sleep(0)
    may_answer.set()
    await refreshing

    assert registry.content.version == "after"


async def test_explicit_task_type_of_an_air_needs_no_registry(registry, side_service):
    await registry.for_params({"model": "civitai:1@2", "taskType": "imageInference"})
    await registry.for_params({"taskType": "imageInference"})

    assert side_service.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(None, id="hang-up"),
        pytest.param(SideAnswer(status=500), id="500"),
        pytest.param(SideAnswer(status=404), id="404"),
        pytest.param(SideAnswer(status=302, headers={"location": "/x"}), id="302"),
        pytest.param(SideAnswer(b"<html>"), id="html"),
        pytest.param(SideAnswer(b""), id="empty"),
        pytest.param(SideAnswer([]), id="list"),
        pytest.param(SideAnswer(None), id="null"),
        pytest.param(SideAnswer({}), id="no-models"),
        pytest.param(SideAnswer({"models": []}), id="models-as-list"),
        pytest.param(SideAnswer({"models": {}}), id="no-model-left"),
        pytest.param(SideAnswer({"models": {"a:1@1": "x"}}), id="entries-of-text"),
    ],
)
async def test_answer_that_is_no_registry_leaves_the_copy_at_hand(registry, side_service, answer):
    side_service.answers(SideAnswer(LIVE, headers={"etag": '"v1"'}), answer)
    await registry.refresh()

    await registry.refresh()

    assert registry.content.knows(NEW)
    assert registry.content.knows(KNOWN)


async def test_broken_parts_of_a_registry_cost_only_themselves(registry, side_service):
    body = {
        "models": {**LIVE["models"], "bad:1@1": {"taskType": 3}, "bad:2@1": None},
        "architectureTaskTypes": ["x"],
        "modalityTaskTypes": {"image": None, "smell": "smellInference"},
    }
    side_service.answers(SideAnswer(body))

    await registry.refresh()

    content = registry.content
    assert (content.knows(NEW), content.knows("bad:1@1"), content.version) == (True, False, "")
    assert content.modality_task_types["image"] == "imageInference"
    assert content.modality_task_types["smell"] == "smellInference"


async def test_service_that_is_away_is_not_asked_by_every_call(registry, side_service):
    side_service.answers(SideAnswer(status=503))
    for _ in range(3):
        await registry.for_params({"model": NEW})
    assert len(side_service.requests) == 1

    registry._clock.now += 31
    side_service.answers(SideAnswer(LIVE))
    assert (await registry.for_params({"model": NEW})).knows(NEW)


async def test_first_question_waits_for_a_slow_service_for_three_seconds_at_most(registry, side_service):
    async def never(_):
        await asyncio.Event().wait()

    side_service.script = never

    async with asyncio.timeout(20):
        content = await registry.for_params({"model": NEW})

    assert not content.knows(NEW)


async def test_close_ends_a_refresh_that_is_under_way(open_side_client, side_service):
    client = open_side_client()
    was_asked = asyncio.Event()

    async def never(_):
        was_asked.set()
        await asyncio.Event().wait()

    side_service.script = never
    registry = client._parts.registry
    await registry.for_params({"model": KNOWN})
    await was_asked.wait()
    refreshing = registry._refreshing

    await client.close()

    assert refreshing.done()


async def test_cancelled_caller_does_not_end_the_refresh_of_others(registry, side_service):
    may_answer, was_asked = asyncio.Event(), asyncio.Event()

    async def slow(_):
        was_asked.set()
        await may_answer.wait()
        return SideAnswer(LIVE)

    side_service.script = slow
    impatient, patient = (asyncio.create_task(registry.for_params({"model": NEW})) for _ in range(2))
    await was_asked.wait()
    impatient.cancel()
    may_answer.set()

    assert (await patient).knows(NEW)
    assert len(side_service.requests) == 1
