"""One webhook to a stranger's name: pinned to what was judged, TLS by the name, and no way round."""

from __future__ import annotations

import pytest

from runware_jobs.webhooks import Delivered, Failed, FailureReason, WebhookSender
from tests.webhooks.receiver import Receiver, answering, certificates

HOST = "hooks.example.com"


class Names:
    """A resolver that gives one list of answers after another, and counts."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        return self._answers[min(self.asked, len(self._answers)) - 1]


@pytest.fixture
async def sender():
    async with WebhookSender(allow_private=True, timeout_s=5) as sender:
        yield sender


async def test_next_address_is_tried_where_the_first_does_not_answer(tmp_path):
    server, client = certificates(tmp_path, HOST)
    names = Names(["127.0.0.2", "127.0.0.1"])
    async with (
        Receiver(tls=server) as receiver,
        WebhookSender(allow_private=True, resolver=names, ssl_context=client) as sender,
    ):
        result = await sender.send(receiver.url(host=HOST), b"{}", {})

    assert isinstance(result, Delivered)


async def test_connection_is_pinned_while_tls_and_host_header_keep_the_name(tmp_path):
    server, client = certificates(tmp_path, HOST)
    asked_for = []
    server.sni_callback = lambda _socket, name, _context: asked_for.append(name)
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    async with (
        Receiver(tls=server) as receiver,
        WebhookSender(allow_private=True, resolver=names, ssl_context=client) as sender,
    ):
        result = await sender.send(receiver.url(host=HOST), b"{}", {})

    assert isinstance(result, Delivered)
    assert names.asked == 1
    assert asked_for == [HOST]
    assert f"{HOST}:{receiver.port}" == receiver.requests[0].headers["host"]


async def test_name_that_turns_private_is_refused_at_the_next_connection(tmp_path):
    """Rebinding between two sendings; this address leads to the receiver if the guard lets it pass."""
    server, client = certificates(tmp_path, HOST)
    names = Names(["127.0.0.1"], ["0.0.0.0"])
    async with (
        Receiver(answering(close=True), tls=server) as receiver,
        WebhookSender(allow_private=True, resolver=names, ssl_context=client) as sender,
    ):
        first = await sender.send(receiver.url(host=HOST), b"{}", {})
        second = await sender.send(receiver.url(host=HOST), b"{}", {})

    assert isinstance(first, Delivered)
    assert isinstance(second, Failed)
    assert (second.reason, receiver.connections) == (FailureReason.ADDRESS_REFUSED, 1)


async def test_certificate_of_another_name_is_refused(tmp_path):
    server, client = certificates(tmp_path, "other.example.com")
    async with (
        Receiver(tls=server) as receiver,
        WebhookSender(allow_private=True, resolver=Names(["127.0.0.1"]), ssl_context=client) as sender,
    ):
        result = await sender.send(receiver.url(host=HOST), b"{}", {})

    assert isinstance(result, Failed)
    assert result.reason == FailureReason.TLS
    assert "not valid for" in result.detail
    assert receiver.requests == []


async def test_connection_of_one_name_is_not_used_for_another_at_the_same_address(tmp_path):
    server, client = certificates(tmp_path, HOST)
    async with (
        Receiver(tls=server) as receiver,
        WebhookSender(allow_private=True, resolver=Names(["127.0.0.1"]), ssl_context=client) as sender,
    ):
        known = await sender.send(receiver.url(host=HOST), b"{}", {})
        stranger = await sender.send(receiver.url(host="stranger.example.com"), b"{}", {})

    assert isinstance(known, Delivered)
    assert isinstance(stranger, Failed)
    assert stranger.reason == FailureReason.TLS


async def test_unknown_authority_is_refused(tmp_path):
    server, _ = certificates(tmp_path, HOST)
    async with (
        Receiver(tls=server) as receiver,
        WebhookSender(allow_private=True, resolver=Names(["127.0.0.1"])) as sender,
    ):
        result = await sender.send(receiver.url(host=HOST), b"{}", {})

    assert isinstance(result, Failed)
    assert result.reason == FailureReason.TLS


async def test_private_address_is_not_connected_to():
    names = Names(["127.0.0.1"])
    async with Receiver() as receiver, WebhookSender(allow_private=False, resolver=names) as sender:
        results = [
            await sender.send(f"https://{host}:{receiver.port}/", b"{}", {}) for host in (HOST, "127.0.0.1")
        ]

    assert [result.reason for result in results] == [FailureReason.ADDRESS_REFUSED] * 2
    assert receiver.connections == 0


async def test_unknown_name_is_a_failure():
    async with WebhookSender(allow_private=False, resolver=Names([])) as sender:
        result = await sender.send(f"https://{HOST}/", b"{}", {})

    assert isinstance(result, Failed)
    assert result.reason == FailureReason.NAME_NOT_FOUND


async def test_proxy_of_the_environment_is_not_used(sender, monkeypatch):
    async with Receiver() as proxy, Receiver() as receiver:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url(""))
        result = await sender.send(receiver.url(), b"{}", {})

    assert isinstance(result, Delivered)
    assert proxy.connections == 0


async def test_cookie_of_one_delivery_does_not_reach_the_next(sender):
    async with Receiver(answering(headers={"Set-Cookie": "tenant=1; Path=/"})) as receiver:
        await sender.send(receiver.url("/one"), b"{}", {})
        await sender.send(receiver.url("/two"), b"{}", {})

    assert all("cookie" not in request.headers for request in receiver.requests)
