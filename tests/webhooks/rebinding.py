"""In a network and with a name server of its own: calls strangers the usual way, by the system's resolver.

Started by test_rebinding.py under `unshare`: the network has nothing but loopback, and
on it the one public address whose receiver is honest. Prints what happened as JSON.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from runware_jobs.outgoing import open_client
from runware_jobs.webhooks import AddressRefused, Delivered, Failed, FailureReason, WebhookSender
from tests.webhooks.dns_server import NameServer
from tests.webhooks.receiver import Receiver, answering, certificates

PUBLIC = "93.184.215.14"
HOST = "hooks.example.com"
ZONE = {
    HOST: [[PUBLIC], ["127.0.0.1"]],
    "both.example.com": [[PUBLIC, "127.0.0.1"]],
    "alias.example.com": [["CNAME localhost", "127.0.0.1", "::1"]],
    "mapped.example.com": [["::ffff:127.0.0.1"]],
    "v6.example.com": [[PUBLIC, "::1"]],
}


def furnish(folder: Path) -> None:
    """Bring loopback up, with the public address on it, and ask for names on it."""
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:5 attempts:1\n")
    (folder / "nsswitch.conf").write_text("hosts: files dns\n")
    for command in (
        ("ip", "link", "set", "lo", "up"),
        ("ip", "address", "add", f"{PUBLIC}/32", "dev", "lo"),
        ("mount", "--bind", str(folder / "resolv.conf"), "/etc/resolv.conf"),
        ("mount", "--bind", str(folder / "nsswitch.conf"), "/etc/nsswitch.conf"),
    ):
        subprocess.run(command, check=True)


async def call_all(folder: Path) -> dict[str, object]:
    """Call every name twice, as webhooks are sent and as files are fetched: what came of it, who heard, what was asked."""
    tls, trusting = certificates(folder, HOST)
    async with AsyncExitStack() as opened:
        public = await opened.enter_async_context(
            Receiver(answering(close=True), tls=tls, host=PUBLIC, port=443)
        )
        traps = [
            await opened.enter_async_context(Receiver(host=host, port=443)) for host in ("127.0.0.1", "::1")
        ]
        names = await opened.enter_async_context(NameServer(ZONE, port=53))
        sender = await opened.enter_async_context(
            WebhookSender(allow_private=False, timeout_s=20, ssl_context=trusting)
        )
        client = await opened.enter_async_context(
            open_client(allow_private=False, timeout_s=20, ssl_context=trusting)
        )

        async def send(url: str) -> str:
            return _said(await sender.send(url, b"{}", {}))

        async def fetch(url: str) -> str:
            try:
                return "delivered" if (await client.get(url)).is_success else "failed"
            except AddressRefused:
                return FailureReason.ADDRESS_REFUSED

        happened: dict[str, object] = {}
        for label, call in (("sent", send), ("fetched", fetch)):
            names.asked.clear()
            came = {name: [await call(f"https://{name}/") for _ in "ab"] for name in ZONE}
            happened[label] = {"came": came, "asked": sorted(names.asked)}
        return happened | {
            "heard": [request.method for request in public.requests],
            "trapped": sum(trap.connections for trap in traps),
        }


def _said(result: object) -> str:
    match result:
        case Delivered():
            return "delivered"
        case Failed(reason=reason):
            return reason
        case _:
            return "gone"


if __name__ == "__main__":
    furnish(Path(sys.argv[1]))
    print(json.dumps(asyncio.run(call_all(Path(sys.argv[1])))))  # noqa: T201  what the test reads
