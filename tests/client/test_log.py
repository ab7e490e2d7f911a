"""What the client tells about itself, and what it never tells."""

from __future__ import annotations

import asyncio
import logging
import uuid

import pytest

from runware_jobs.client import LogEntry, RunwareError
from runware_jobs.client.log import CATEGORIES, ClientLog, masked
from runware_jobs.client.wire.websocket import WebSocketTransport
from runware_jobs.client.wire.ws_session import SessionTimes


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


SECRETS = {
    "URL with a password": "wss://user:hunter2@ws.example/v1",
    "query": "https://x.example/?apiKey=hunter2&a=1",
    "signed URL": "https://x.example/?X-Amz-Signature=hunter2",
    "header": "Authorization: Bearer hunter2",
    "exception": ValueError("Illegal header value b'Bearer hunter2'"),
    "nested": [{"tasks": [{"apiKey": "hunter2"}]}],
    "the key itself": "no such file: hunter2",
    "cause": RunwareError("refused for hunter2"),
}


@pytest.mark.parametrize("value", SECRETS.values(), ids=SECRETS)
def test_key_is_masked_wherever_it_stands(value):
    heard: list[LogEntry] = []
    ClientLog(enabled=True, sink=heard.append, secrets=["hunter2"]).write("error", "x", {"value": value})

    assert "hunter2" not in repr(heard[0].data)


MEDIA = {
    "parameter": {"inputs": {"image": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB"}},
    "list": {"referenceImages": ["iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB"]},
    "result": {"imageBase64Data": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB"},
    "in a text": {"reason": "cannot read data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB here"},
    "exception": {"reason": ValueError("iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB" * 5)},
}


@pytest.mark.parametrize("data", MEDIA.values(), ids=MEDIA)
def test_media_bytes_are_masked_wherever_they_stand(data):
    assert "iVBORw0KGgo" not in repr(masked(data))


def test_links_and_identities_are_told_as_they_are():
    identity = str(uuid.uuid4())

    assert masked({"image": identity, "images": ["https://im.example/a.jpg"]}) == {
        "image": identity,
        "images": ["https://im.example/a.jpg"],
    }


@pytest.mark.usefixtures("fast_pace")
async def test_every_category_is_used(open_client, socket_platform, make_task, send_frame):
    """One client's day: it connects, loses the line, comes back, is refused, asks over HTTP, and hears of a ping."""
    heard: list[LogEntry] = []
    pinged = asyncio.Event()

    async def answer(connection, frame):
        if frame[0]["taskType"] == "ping":
            pinged.set()
        elif len(socket_platform.frames) == 1:
            await send_frame(connection, data=[{"taskUUID": "nobody", "taskType": "imageInference"}])
            connection.transport.abort()
        else:
            errors = [{"code": "invalidWidth", "message": "m", "taskUUID": frame[0]["taskUUID"]}]
            await send_frame(connection, errors=errors)

    socket_platform.script = answer
    options = {"debug": True, "log_sink": heard.append, "retry_delay": 5}
    client = open_client(transport="websocket", **options)
    with pytest.raises(RunwareError):
        await client.run(make_task())
    await open_client(**options).submit_many([make_task()])
    await client.close()
    log = ClientLog(enabled=True, sink=heard.append)
    transport = WebSocketTransport(client.config, log, times=SessionTimes(heartbeat_s=0.01))
    await transport.connect()
    await pinged.wait()
    await transport.close()

    assert {entry.category for entry in heard} == set(CATEGORIES)
    raw_codes = [entry.data["raw_code"] for entry in heard if entry.message == "platform_error"]
    assert raw_codes == ["invalidWidth"]
    assert "test-key" not in repr(heard)


async def test_nothing_is_logged_without_debug(open_client, socket_platform, make_task, caplog):
    caplog.set_level(logging.DEBUG, logger="runware")
    client = open_client(transport="websocket")
    await client.submit_many([make_task()])
    await client.close()
    await asyncio.sleep(0)

    assert [record for record in caplog.records if record.name == "runware"] == []


async def test_without_a_sink_entries_go_to_the_stdlib_logger(open_client, make_task, caplog):
    caplog.set_level(logging.DEBUG, logger="runware")
    await open_client(debug=True).submit_many([make_task()])

    assert {record.name for record in caplog.records if "post" in record.getMessage()} == {"runware"}
