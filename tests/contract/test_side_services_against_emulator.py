"""The client's side services against the emulator as a process of its own: both read PROTOCOL 10 alike."""

from __future__ import annotations

import uuid

import pytest

from runware_jobs.client import InvokeOptions, RunOptions, Runware, RunwareError, clear_validator_cache

pytestmark = pytest.mark.slow

CURATED = "runware:400@1"
AT_ONCE = InvokeOptions(poll_interval=0.02)


@pytest.fixture
async def client(emulator):
    clear_validator_cache()
    async with Runware(
        api_key="test-key",
        transport="rest",
        http_base_url=emulator.http_base_url,
        schemas_base_url=f"{emulator.address}/schemas",
        content_base_url=f"{emulator.address}/content",
        serverless_base_url=f"{emulator.address}/serverless",
        retry_delay=10,
    ) as client:
        yield client
    clear_validator_cache()


async def test_model_is_found_by_its_air_and_its_slug(client):
    by_air = await client.content.get_model(CURATED)
    by_slug = await client.content.get_model("bfl-flux-2-dev")

    assert by_air == by_slug
    assert (by_air["air"], by_air["model"]) == (CURATED, "bfl-flux-2-dev")


async def test_filters_narrow_the_list_of_models(client):
    everything = await client.content.list_models()
    found = await client.content.list_models({"category": "image", "search": "flux"})

    assert 0 < len(found) < len(everything)
    assert all("flux" in str(model).lower() for model in found)


async def test_pages_join_to_the_whole_list(client):
    page = await client.content.list_models({"paginate": True, "limit": 25, "offset": 0, "status": "live"})
    everything = await client.content.list_models({"status": "live"})

    assert (page["total"], page["limit"], page["offset"]) == (len(everything), 25, 0)
    assert page["items"] == everything[:25]


async def test_what_is_known_of_a_model_can_be_read(client):
    assert await client.content.get_model_examples(CURATED)
    assert await client.content.get_model_pricing(CURATED)
    assert isinstance(await client.content.get_model_guides(CURATED), list)


async def test_what_is_not_known_is_nothing(client):
    assert await client.content.get_model("no-such-model") is None
    assert await client.content.get_model_pricing("nobody:1@1") is None
    assert await client.content.get_model_examples("no-such-model") == []
    assert await client.content.get_model_guides("no-such-model") == []
    assert await client.content.get_creator("nobody") is None
    assert await client.content.get_collection("nothing") is None


async def test_collections_creators_and_capabilities_can_be_read(client):
    collections = await client.content.list_collections({"category": "image"})
    creators = await client.content.list_creators()
    capabilities = await client.content.list_capabilities()

    assert await client.content.get_collection(collections[0]["id"]) == collections[0]
    assert (await client.content.get_creator("google"))["models"]
    assert creators[0]["models"]
    assert {"io", "op"} <= {capability["id"].partition(":")[0] for capability in capabilities}


async def test_registry_is_fetched(client, emulator):
    await client.refresh_registry()

    assert client.registry.air_of("bfl-flux-2-dev") == CURATED


async def test_live_schema_refuses_before_the_platform_is_asked(client, emulator):
    with pytest.raises(RunwareError, match='did you mean "positivePrompt"') as raised:
        await client.run({"model": CURATED, "positvePrompt": "a"}, RunOptions(validate=True))

    assert raised.value.code == "validation"
    assert not emulator.ledger()["tasks"]


async def test_right_parameters_pass_the_live_schema(client):
    params = {"model": CURATED, "positivePrompt": "a lighthouse", "width": 512, "height": 512}

    assert len(await client.run(params, RunOptions(validate=True))) == 1


@pytest.mark.parametrize("delivery", ["async", "sync"])
async def test_endpoint_is_invoked(client, delivery):
    options = InvokeOptions(delivery_method=delivery, poll_interval=0.02)

    done = await client.invoke("demo-app", "math/add", {"numbers": [1, 2]}, options=options)

    assert (done["status"], done["output"]) == ("completed", {"sum": 3})


async def test_task_id_names_one_task(client):
    task_id = str(uuid.uuid4())

    first = await client.invoke("demo-app", "echo", {"n": 1}, task_id=task_id, options=AT_ONCE)
    second = await client.invoke("demo-app", "echo", {"n": 2}, task_id=task_id, options=AT_ONCE)

    assert first == second == await client.get_task("demo-app", task_id)
    assert first["output"] == {"n": 1}


async def test_task_is_listed(client):
    done = await client.invoke("echo-app", "echo", {}, options=AT_ONCE)

    page = await client.list_tasks("echo-app", status="completed", limit=100)

    assert done["id"] in {task["id"] for task in page["data"]}


async def test_failed_task_is_given(client):
    failed = await client.invoke("demo-app", "fail", {"message": "no memory"}, options=AT_ONCE)

    assert (failed["status"], failed["error"]) == ("failed", "no memory")


@pytest.mark.parametrize(
    ("arguments", "code", "parameter"),
    [
        ({"app_id": "no-such-app"}, "notFound", None),
        ({"endpoint_path": "no-such-endpoint"}, "notFound", "endpoint_path"),
        ({"app_id": "stopped-app"}, "validation", None),
        ({"environment": "paused"}, "quota", None),
        (
            {"endpoint_path": "math/add", "payload": {"numbers": "x"}},
            "validation",
            "payload.numbers",
        ),
    ],
)
async def test_problem_is_told_by_its_stable_code(client, arguments, code, parameter):
    with pytest.raises(RunwareError) as raised:
        await client.invoke(**{"app_id": "demo-app", "endpoint_path": "echo", **arguments})

    assert (raised.value.code, raised.value.parameter) == (code, parameter)
    assert raised.value.request_id


async def test_store_that_lags_behind_is_waited_for(client, emulator):
    emulator.configure(switches={"serverless_lag_s": 0.3})

    done = await client.invoke("demo-app", "echo", {"n": 1}, options=AT_ONCE)

    assert done["output"] == {"n": 1}
