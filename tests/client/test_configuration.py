"""What `Runware(...)` takes: the seed's options, those of the JS SDK, and one clear error for the rest."""

from __future__ import annotations

import asyncio
import math

import httpx
import pytest

from runware_jobs.client import ConfigurationError, RuntimeDependencies, Runware, RunwareError, SDKConfig
from runware_jobs.client.config import read_config

IMAGE = {"taskType": "imageInference", "model": "runware:400@1", "positivePrompt": "a lighthouse"}
DONE = {"status": "success", "imageUUID": "i", "imageURL": "https://x.example/i"}


def test_defaults_are_those_of_the_table(monkeypatch):
    monkeypatch.setenv("RUNWARE_API_KEY", "key")
    config = Runware().config

    assert isinstance(config, SDKConfig)
    assert {name: getattr(config, name) for name in TABLE} == TABLE


TABLE = {
    "api_key": "key",
    "transport": "websocket",
    "http_base_url": "https://api.runware.ai/v1",
    "ws_base_url": "wss://ws-api.runware.ai/v1",
    "timeout": 1_200_000,
    "poll_timeout": 1_200_000,
    "auth_timeout": 15_000,
    "max_retries": 3,
    "retry_delay": 1_000,
    "retry_strategy": "exponential",
    "max_reconnect_attempts": math.inf,
    "debug": False,
    "validate": False,
    "dependencies": None,
    "log_sink": None,
    "schemas_base_url": "https://schemas.runware.ai",
    "content_base_url": "https://content.runware.ai",
}


@pytest.mark.parametrize("name", ["http", "ws", "schemas", "content", "serverless"])
def test_whom_to_call_may_stand_in_the_environment_and_an_option_goes_before_it(monkeypatch, name):
    scheme = "ws" if name == "ws" else "http"
    monkeypatch.setenv(f"RUNWARE_{name.upper()}_BASE_URL", f"{scheme}://127.0.0.1:9300/v1")
    option = f"{name}_base_url"

    assert getattr(read_config(api_key="key"), option) == f"{scheme}://127.0.0.1:9300/v1"
    named = read_config(api_key="key", **{option: f"{scheme}://other.example/v1"})
    assert getattr(named, option) == f"{scheme}://other.example/v1"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("time_out", "timeout"),
        ("apikey", "api_key"),
        ("max_retry", "max_retries"),
        ("pollTimeout", "poll_timeout"),
    ],
)
def test_unknown_option_names_the_nearest(given, meant):
    with pytest.raises(ConfigurationError, match=f'Did you mean "{meant}"') as raised:
        Runware(api_key="k", **{given: 5})
    assert raised.value.parameter == given


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("api_key", 5),
        ("transport", 5),
        ("transport", ["rest"]),
        ("http_base_url", 5),
        ("http_base_url", "http://[broken"),
        ("ws_base_url", "ws://host:port/v1"),
        ("timeout", "10"),
        ("poll_timeout", math.nan),
        ("auth_timeout", True),
        ("heartbeat_interval", 0),
        ("max_retries", 1.5),
        ("retry_delay", "x"),
        ("retry_strategy", 5),
        ("max_reconnect_attempts", 0.5),
        ("submit_group_size", 2.5),
        ("debug", "yes"),
        ("validate", 1),
        ("dry_run", "no"),
        ("encode_local_files", "off"),
        ("dependencies", {"session": None}),
        ("log_sink", "stdout"),
    ],
)
def test_value_of_the_wrong_kind_is_one_clear_error(name, value):
    with pytest.raises(ConfigurationError, match=name) as raised:
        Runware(**{"api_key": "k", name: value})
    assert (raised.value.code, raised.value.parameter) == ("validation", name)


def test_options_that_are_no_mapping_are_refused():
    with pytest.raises(ConfigurationError, match="api_key="):
        Runware("my-key")  # type: ignore[arg-type]  # the mistake that is tested


# ---- what a caller brings along ------------------------------------------------------------------


class ClientSession:
    """What aiohttp calls its session."""


def test_session_of_another_library_is_refused_by_name():
    with pytest.raises(ConfigurationError, match=r"ClientSession.*pass an httpx\.AsyncClient") as raised:
        Runware(api_key="k", dependencies=RuntimeDependencies(session=ClientSession()))  # type: ignore[arg-type]  # the mistake that is tested
    assert raised.value.parameter == "dependencies"


def test_ws_connect_that_cannot_be_called_is_refused():
    with pytest.raises(ConfigurationError, match="ws_connect"):
        Runware(api_key="k", dependencies=RuntimeDependencies(ws_connect="wss://x"))  # type: ignore[arg-type]  # the mistake that is tested


async def test_injected_session_is_used_and_never_closed(platform):
    platform.answers({"data": [DONE]})
    async with httpx.AsyncClient(headers={"X-Mine": "yes"}) as session:
        client = platform.client(dependencies=RuntimeDependencies(session=session))
        await client.run(IMAGE)
        await client.close()

        assert not session.is_closed


async def test_injected_ws_connect_is_called_like_the_librarys(socket_platform, open_client):
    from websockets.asyncio.client import connect

    opened = []

    async def mine(url, **options):
        opened.append(url)
        return await connect(url, **options)

    client = open_client(transport="websocket", dependencies=RuntimeDependencies(ws_connect=mine))
    await client.connect()

    assert opened == [socket_platform.url]
    assert client.is_connected


# ---- connecting ----------------------------------------------------------------------------------


async def test_connect_disconnect_and_close_may_be_called_in_any_order(platform):
    platform.answers({"data": [DONE]})
    client = platform.client()
    await client.disconnect()
    await client.connect()
    await client.connect()
    was_connected = client.is_connected
    await client.disconnect()

    assert (was_connected, client.is_connected) == (True, False)
    assert len(await client.run(IMAGE)) == 1
    await client.close()
    await client.close()


@pytest.mark.parametrize("transport", ["rest", "websocket"])
async def test_initialize_gives_a_connected_client(transport, http_platform, socket_platform):
    client = await Runware.initialize(
        api_key="k", transport=transport, http_base_url=http_platform.url, ws_base_url=socket_platform.url
    )

    assert client.is_connected
    await client.close()


async def test_initialize_tells_a_refused_key(socket_platform):
    socket_platform.auth_error = {"code": "invalidApiKey", "message": "no", "taskType": "authentication"}

    with pytest.raises(RunwareError) as raised:
        await Runware.initialize({"apiKey": "bad", "url": socket_platform.url})
    assert raised.value.code == "auth"


async def test_ensure_connection_connects_and_may_be_called_again(platform):
    client = platform.client()
    await client.ensure_connection()
    await client.ensure_connection()

    assert client.is_connected


async def test_ensure_connection_tries_as_often_as_max_retries_says(open_client):
    tries = []

    async def nobody(url, **_options):
        tries.append(url)
        raise OSError("nobody there")

    client = open_client(
        transport="websocket", max_retries=2, dependencies=RuntimeDependencies(ws_connect=nobody)
    )

    with pytest.raises(RunwareError) as raised:
        await client.ensure_connection()
    assert raised.value.code == "connection"
    assert len(tries) == 3


# ---- the options of the JS SDK -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "field", "expected"),
    [
        ({"shouldReconnect": False}, "max_reconnect_attempts", 0),
        ({"should_reconnect": False}, "max_reconnect_attempts", 0),
        ({"shouldReconnect": True}, "max_reconnect_attempts", math.inf),
        ({"globalMaxRetries": 2}, "max_retries", 1),
        ({"global_max_retries": 1}, "max_retries", 0),
        ({"globalMaxRetries": 0}, "max_retries", 0),
        ({"timeoutDuration": 60_000}, "timeout", 60_000),
        ({"timeout_duration": 5_000}, "timeout", 5_000),
        ({"heartbeatInterval": 45_000}, "heartbeat_interval", 45_000),
        ({"enableLogging": True}, "debug", True),
        ({"enable_logging": True}, "debug", True),
        ({"dryRun": True}, "dry_run", True),
        ({"url": None}, "ws_base_url", "wss://ws-api.runware.ai/v1"),
    ],
)
def test_js_option_is_read_as_ours(given, field, expected):
    assert getattr(read_config({"apiKey": "k", **given}), field) == expected
    assert getattr(Runware({"apiKey": "k"}, **given).config, field) == expected


@pytest.mark.parametrize(
    ("url", "ws_base_url", "http_base_url"),
    [
        ("ws://127.0.0.1:9/v1", "ws://127.0.0.1:9/v1", "http://127.0.0.1:9/v1"),
        ("https://proxy.example/rw/v1", "wss://proxy.example/rw/v1", "https://proxy.example/rw/v1"),
        ("wss://ws-api.runware.ai/v1", "wss://ws-api.runware.ai/v1", "https://api.runware.ai/v1"),
        ("https://api.runware.ai/v1", "wss://ws-api.runware.ai/v1", "https://api.runware.ai/v1"),
    ],
)
def test_url_sets_both_base_urls(url, ws_base_url, http_base_url):
    config = read_config({"apiKey": "k", "url": url})

    assert (config.ws_base_url, config.http_base_url) == (ws_base_url, http_base_url)


def test_base_url_by_its_own_name_goes_before_url():
    config = read_config(
        {"api_key": "k", "url": "ws://a.example/v1", "http_base_url": "https://b.example/v1"}
    )

    assert (config.ws_base_url, config.http_base_url) == ("ws://a.example/v1", "https://b.example/v1")


@pytest.mark.parametrize(
    "given",
    [
        {"api_key": "k", "apiKey": "k"},
        {"api_key": "k", "url": "ftp://x.example"},
        {"api_key": "k", "url": 5},
        {"api_key": "k", "shouldReconnect": "no"},
        {"api_key": "k", "globalMaxRetries": "2"},
        {"api_key": "k", "max_retries": 1, "globalMaxRetries": 2},
    ],
)
def test_js_option_that_cannot_be_read_is_one_clear_error(given):
    with pytest.raises(ConfigurationError) as raised:
        Runware(given)
    assert raised.value.parameter in given


async def test_without_reconnecting_a_lost_line_is_told(socket_platform, open_client):
    async def hang_up(connection, _frame):
        await connection.close()

    socket_platform.script = hang_up
    client = open_client(transport="websocket", should_reconnect=False, max_retries=0)

    with pytest.raises(RunwareError) as raised:
        await client.run(IMAGE)
    assert raised.value.code == "connection"
    assert len(socket_platform.connections) == 1


@pytest.mark.parametrize("delivery", ["sync", "async"])
async def test_dry_run_is_named_on_either_transport_and_waits_for_nothing(
    platform, http_platform, socket_platform, delivery
):
    platform.answers({"data": [{"cost": 0.0013}]})
    results = await platform.client(dry_run=True).run({**IMAGE, "deliveryMethod": delivery})

    assert [item["cost"] for item in results] == [0.0013]
    if platform.transport == "rest":
        assert "x-runware-dry-run: 1" in http_platform.heads[0].lower()
    else:
        assert socket_platform.connections[0].request.path == "/v1?dryRun=1"
    assert len(platform.sent) == 1


async def test_heartbeat_interval_is_the_pause_between_signs_of_life(socket_platform, open_client):
    heard_twice = asyncio.Event()

    async def answer(connection, _frame):
        await connection.send('{"data":[{"taskType":"ping","pong":true}]}')
        if len(socket_platform.frames) >= 2:
            heard_twice.set()

    socket_platform.script = answer
    await open_client(transport="websocket", heartbeat_interval=20).connect()
    async with asyncio.timeout(10):  # by default the first would come after 30 s
        await heard_twice.wait()

    assert {frame[0]["taskType"] for frame in socket_platform.frames} == {"ping"}
