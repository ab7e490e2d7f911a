"""One webhook over real sockets: what the receiver did is what the sender says."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip

import pytest
from standardwebhooks.webhooks import Webhook

from runware_jobs.core.signing import new_secret, sign
from runware_jobs.webhooks import Delivered, Failed, FailureReason, Gone, WebhookSender
from tests.webhooks.receiver import Receiver, answering


@pytest.fixture
async def sender():
    async with WebhookSender(allow_private=True, timeout_s=5) as sender:
        yield sender


async def test_receiver_gets_the_signed_body_as_it_is(sender):
    secret, body = new_secret(), '{"type": "job.succeeded", "über": 1}'.encode()
    headers = sign([secret], webhook_id="evt_1", timestamp=dt.datetime.now(dt.UTC), body=body)
    async with Receiver(answering(body=b"thanks")) as receiver:
        result = await sender.send(receiver.url("/hooks?a=b%20c"), body, headers)

    (request,) = receiver.requests
    assert Delivered(200, result.duration_ms, b"thanks") == result
    assert ("POST", "/hooks?a=b%20c", body) == (request.method, request.target, request.body)
    assert f"127.0.0.1:{receiver.port}" == request.headers["host"]
    assert request.headers["content-type"] == "application/json"
    Webhook(secret).verify(request.body, request.headers, json_parse=False)


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "202 Accepted", "204 No Content", "299 Fine"])
async def test_every_2xx_is_delivered(sender, status):
    async with Receiver(answering(status)) as receiver:
        result = await sender.send(receiver.url(), b"{}", {})

    assert isinstance(result, Delivered)


async def test_410_is_gone(sender):
    async with Receiver(answering("410 Gone", b"bye")) as receiver:
        result = await sender.send(receiver.url(), b"{}", {})

    assert isinstance(result, Gone)
    assert (result.status_code, result.answer) == (410, b"bye")


@pytest.mark.parametrize(
    ("status", "headers", "retry_after_s"),
    [
        ("500 Broken", {}, None),
        ("404 Not Found", {}, None),
        ("304 Not Modified", {}, None),
        ("429 Slow Down", {"Retry-After": "120"}, 120.0),
        ("503 Later", {"Retry-After": "Tue, 01 Dec 2026 10:01:00 GMT"}, 60.0),
        ("503 Later", {"Retry-After": "soon"}, None),
    ],
)
async def test_other_status_fails_with_what_the_receiver_asked_for(status, headers, retry_after_s):
    now = dt.datetime(2026, 12, 1, 10, 0, tzinfo=dt.UTC)
    async with (
        WebhookSender(allow_private=True, now=lambda: now) as sender,
        Receiver(answering(status, b"why", headers)) as receiver,
    ):
        result = await sender.send(receiver.url(), b"{}", {})

    assert isinstance(result, Failed)
    assert (FailureReason.STATUS, int(status[:3]), retry_after_s) == (
        result.reason,
        result.status_code,
        result.retry_after_s,
    )


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
async def test_redirect_is_not_followed(sender, status):
    async with (
        Receiver() as inner,
        Receiver(answering(status, headers={"Location": inner.url()})) as receiver,
    ):
        result = await sender.send(receiver.url(), b"{}", {})

    assert isinstance(result, Failed)
    assert (FailureReason.REDIRECT, int(status[:3])) == (result.reason, result.status_code)
    assert inner.connections == 0


async def test_answer_is_read_no_further_than_its_limit():
    sent_on = asyncio.Event()

    async def endless(request, writer):
        writer.write(b"HTTP/1.1 500 Broken\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        except ConnectionError:
            sent_on.set()
            raise

    async with (
        WebhookSender(allow_private=True, max_answer_bytes=100) as sender,
        Receiver(endless) as receiver,
    ):
        result = await sender.send(receiver.url(), b"{}", {})
        await sent_on.wait()

    assert result.answer == b"x" * 100


async def test_packed_answer_is_not_unpacked(sender):
    packed = gzip.compress(b"0" * 10_000_000)
    async with Receiver(answering(body=packed, headers={"Content-Encoding": "gzip"})) as receiver:
        result = await sender.send(receiver.url(), b"{}", {})

    assert packed[:4096] == result.answer
    assert receiver.requests[0].headers["accept-encoding"] == "identity"


async def test_silent_receiver_times_out():
    async def silent(request, writer):
        await asyncio.Event().wait()

    async with WebhookSender(allow_private=True, timeout_s=0.1) as sender, Receiver(silent) as receiver:
        sending = await sender.send(receiver.url(), b"{}", {})

    assert isinstance(sending, Failed)
    assert (sending.reason, sending.status_code) == (FailureReason.TIMEOUT, None)


async def test_receiver_that_trickles_is_held_to_the_whole_limit():
    """Each byte comes within any limit on one read; only the whole is too slow."""

    async def trickle(request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)  # the slowness is the case, nobody waits for it

    async with WebhookSender(allow_private=True, timeout_s=0.1) as sender, Receiver(trickle) as receiver:
        result = await sender.send(receiver.url(), b"{}", {})

    assert isinstance(result, Failed)
    assert result.reason == FailureReason.TIMEOUT


async def test_verdict_counts_though_the_answer_breaks_off(sender):
    async def break_off(request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        writer.close()

    async with Receiver(break_off) as receiver:
        result = await sender.send(receiver.url(), b"{}", {})

    assert Delivered(200, result.duration_ms, b"half") == result


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 what\r\n\r\n"])
async def test_answer_that_is_no_http_is_a_failure(sender, said):
    async def speak(request, writer):
        writer.write(said)
        writer.close()

    async with Receiver(speak) as receiver:
        result = await sender.send(receiver.url(), b"{}", {})

    assert isinstance(result, Failed)
    assert result.reason == FailureReason.BROKEN_ANSWER


async def test_closed_port_is_a_failure_to_connect(sender):
    async with Receiver() as receiver:
        url = receiver.url()
    result = await sender.send(url, b"{}", {})

    assert isinstance(result, Failed)
    assert (result.reason, result.status_code) == (FailureReason.CONNECT, None)


async def test_host_gets_no_more_than_its_places_at_once():
    answered = asyncio.Event()

    async def wait(request, writer):
        await answered.wait()
        await answering()(request, writer)

    async with (
        WebhookSender(allow_private=True, per_host=2) as sender,
        Receiver(wait) as receiver,
        asyncio.TaskGroup() as group,
    ):
        sendings = [group.create_task(sender.send(receiver.url(), b"{}", {})) for _ in range(5)]
        while len(receiver.requests) < 2:
            await asyncio.sleep(0)
        at_once = receiver.connections
        answered.set()

    assert at_once == 2
    assert all(isinstance(sending.result(), Delivered) for sending in sendings)
    assert sender._places._hosts == {}


async def test_host_without_a_free_place_is_busy_and_nothing_is_sent():
    async with (
        WebhookSender(allow_private=True, per_host=1, timeout_s=0.05) as sender,
        Receiver() as receiver,
        sender._places.take("127.0.0.1"),
    ):
        result = await sender.send(receiver.url(), b"{}", {})

    assert isinstance(result, Failed)
    assert (result.reason, receiver.connections) == (FailureReason.BUSY, 0)


async def test_cancelling_passes_through_and_gives_the_place_back(sender):
    async def silent(request, writer):
        await asyncio.Event().wait()

    async with Receiver(silent) as receiver:
        sending = asyncio.create_task(sender.send(receiver.url(), b"{}", {}))
        await receiver.arrived.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    assert sender._places._hosts == {}


async def test_nothing_leaves_once_it_may_not_be_sent(sender):
    async with Receiver() as receiver:
        result = await sender.send(receiver.url(), b"{}", {}, may_send=lambda: False)

    assert isinstance(result, Failed)
    assert (result.reason, receiver.requests) == (FailureReason.LATE, [])


async def test_connection_is_used_again(sender):
    async with Receiver(answering(body=b"ok")) as receiver:
        results = [await sender.send(receiver.url(f"/{number}"), b"{}", {}) for number in range(3)]

    assert [type(result) for result in results] == [Delivered] * 3
    assert receiver.connections == 1


@pytest.mark.parametrize("said", ["200 OK", "500 Oops"])
async def test_connection_that_was_closed_between_two_webhooks_costs_no_try(sender, said):
    """The receiver hears the second one twice at most, and answers it once."""

    async def once_each(request, writer):
        if len(receiver.requests) == 2:
            writer.close()  # as one does that has given up an idle connection at that moment
            return
        await answering(said)(request, writer)

    async with Receiver(once_each) as receiver:
        for _ in range(2):
            result = await sender.send(receiver.url(), b"{}", {})

    assert (result.status_code, receiver.connections) == (int(said[:3]), 2)


async def test_unasked_answer_belongs_to_no_later_webhook(sender):
    async def twice(request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 2)

    async with Receiver(twice) as receiver:
        first = await sender.send(receiver.url(), b"{}", {})
        receiver._answer = answering("500 Oops")
        second = await sender.send(receiver.url(), b"{}", {})

    assert isinstance(first, Delivered)
    assert isinstance(second, Failed)
    assert second.status_code == 500


async def test_header_that_would_end_itself_is_refused(sender):
    async with Receiver() as receiver:
        with pytest.raises(ValueError, match="line break"):
            await sender.send(receiver.url(), b"{}", {"webhook-id": "a\r\nHost: b"})

    assert receiver.requests == []
