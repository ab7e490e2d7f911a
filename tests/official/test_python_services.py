"""runware-sdk and the services beside the inference API: registry, schemas, content, serverless apps."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from runware import GetTaskOptions, InvokeOptions, RunOptions, RunwareError, clear_validator_cache

pytestmark = pytest.mark.slow

LIGHTHOUSE = {"model": "runware:400@1", "positivePrompt": "a lighthouse", "width": 256, "height": 256}


@pytest.fixture
def _no_schema_known():
    """The SDK keeps compiled schemas per process; a test that is about fetching them starts without."""
    clear_validator_cache()


async def test_the_registry_is_fetched_and_fetched_again(rest):
    await rest.refresh_registry()
    await rest.refresh_registry()

    [item] = await rest.run({**LIGHTHOUSE, "model": "bfl-flux-2-dev"})

    assert item["taskType"] == "imageInference"


async def test_a_model_that_nobody_knows_needs_a_task_type(rest):
    with pytest.raises(RunwareError) as caught:
        await rest.run({**LIGHTHOUSE, "model": "acme:unheard-of@1"})

    assert caught.value.code == "notFound"


@pytest.mark.usefixtures("_no_schema_known")
async def test_a_wrong_parameter_never_leaves_a_validating_client(rest, emulator):
    with pytest.raises(RunwareError) as caught:
        await rest.run({**LIGHTHOUSE, "width": "wide"}, RunOptions(validate=True))

    assert caught.value.code == "validation"
    assert caught.value.validation_errors
    assert emulator.ledger()["requests"]["total"] == 0


@pytest.mark.usefixtures("_no_schema_known")
async def test_a_good_task_passes_validation(rest):
    [item] = await rest.run(LIGHTHOUSE, RunOptions(validate=True))

    assert item["imageURL"]


async def test_models_are_listed_by_what_they_are(rest):
    images = await rest.content.list_models({"category": "image", "capability": "io:text-to-image"})
    found = await rest.content.list_models({"search": "flux"})

    assert "runware:400@1" in {model["air"] for model in images}
    assert "runware:400@1" in {model["air"] for model in found}
    assert len(found) < len(await rest.content.list_models())


async def test_models_are_listed_page_by_page(rest):
    first = await rest.content.list_models({"paginate": True, "limit": 25, "offset": 0})
    second = await rest.content.list_models({"paginate": True, "limit": 25, "offset": 25})

    assert first["total"] == second["total"] > 50
    assert len({model["air"] for model in (*first["items"], *second["items"])}) == 50


@pytest.mark.parametrize("name", ["bfl-flux-2-dev", "runware:400@1"])
async def test_a_model_is_found_by_slug_and_by_air(rest, name):
    model = await rest.content.get_model(name)

    assert model["air"] == "runware:400@1"
    assert model["model"] == "bfl-flux-2-dev"
    assert model["status"] == "live"
    assert "io:text-to-image" in model["capabilities"]


async def test_a_model_has_examples_that_run(rest):
    examples = await rest.content.get_model_examples("bfl-flux-2-dev")

    [item] = await rest.run(examples[0]["request"])

    assert item["imageURL"]


async def test_a_model_has_prices(rest):
    pricing = await rest.content.get_model_pricing("runware:400@1")

    assert pricing["model"] == "bfl-flux-2-dev"
    assert pricing["pricingExamples"][0]["price"]


async def test_what_is_not_there_is_nothing(rest):
    assert await rest.content.get_model("no-such-model") is None
    assert await rest.content.get_model_pricing("no-such-model") is None
    assert await rest.content.get_model_examples("no-such-model") == []
    assert await rest.content.get_model_guides("no-such-model") == []
    assert await rest.content.get_collection("no-such-collection") is None
    assert await rest.content.get_creator("no-such-creator") is None


async def test_creators_and_collections_hold_whole_models(rest):
    creators = await rest.content.list_creators()
    google = await rest.content.get_creator("google")
    collections = await rest.content.list_collections({"category": "image"})
    collection = await rest.content.get_collection(collections[0]["id"])

    assert "google" in {creator["id"] for creator in creators}
    assert "google:3@3" in {model["air"] for model in google["models"]}
    assert collection["models"][0]["air"]


async def test_capabilities_have_labels(rest):
    capabilities = await rest.content.list_capabilities()

    assert {"io:text-to-image", "op:upscale", "op:train"} <= {one["id"] for one in capabilities}
    assert all(one["label"] for one in capabilities)


@pytest.mark.parametrize("delivery", ["async", "sync"])
async def test_an_app_is_invoked(rest, delivery):
    task = await rest.invoke(
        "my-app",
        "generate",
        {"prompt": "a cat"},
        options=InvokeOptions(delivery_method=delivery, poll_interval=0.05),
    )

    assert task["status"] == "completed"
    assert task["output"] is not None
    assert (task["appId"], task["endpointPath"]) == ("my-app", "generate")


async def test_a_task_of_an_app_that_cannot_be_seen_yet_is_waited_for(rest, emulator):
    emulator.configure(switches={"serverless_lag_s": 0.5})

    task = await rest.invoke("my-app", "generate", {}, options=InvokeOptions(poll_interval=0.05))

    assert task["status"] == "completed"


async def test_an_app_that_outlasts_the_wait_is_polled(rest, emulator):
    emulator.configure(switches={"serverless_wait_s": 0})

    task = await rest.invoke(
        "my-app", "generate", {}, options=InvokeOptions(delivery_method="sync", poll_interval=0.05)
    )

    assert task["status"] == "completed"


async def test_an_app_is_invoked_once_under_one_id(rest):
    task_id = str(uuid4())
    once = InvokeOptions(wait=False)

    first = await rest.invoke("my-app", "generate", {"prompt": "a cat"}, task_id=task_id, options=once)
    again = await rest.invoke("my-app", "generate", {"prompt": "a dog"}, task_id=task_id, options=once)
    read = await rest.get_task("my-app", task_id, GetTaskOptions(timeout=5000))

    assert first["id"] == again["id"] == read["id"] == task_id
    assert first["createdAt"] == again["createdAt"]


async def test_environments_do_not_see_each_others_tasks(rest):
    task = await rest.invoke(
        "my-app", "generate", {}, environment="staging", options=InvokeOptions(wait=False)
    )

    with pytest.raises(RunwareError) as caught:
        await rest.get_task("my-app", task["id"])

    assert caught.value.code == "notFound"
    assert (await rest.get_task("my-app", task["id"], environment="staging"))["id"] == task["id"]


async def test_an_invocation_is_cancelled(rest):
    cancel = asyncio.Event()
    cancel.set()

    with pytest.raises(RunwareError) as caught:
        await rest.invoke("my-app", "generate", {}, options=InvokeOptions(cancel_event=cancel))

    assert caught.value.code == "aborted"
