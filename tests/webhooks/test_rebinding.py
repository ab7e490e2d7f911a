"""A name server that changes its answers between one question and the next reaches nothing private."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runware_jobs.webhooks import AddressRefused, Failed, FailureReason, WebhookSender, resolve
from tests.webhooks import rebinding
from tests.webhooks.dns_server import AAAA, A, Asker, NameServer
from tests.webhooks.rebinding import HOST, PUBLIC, ZONE
from tests.webhooks.receiver import Receiver

ROOT = Path(__file__).resolve().parents[2]
_WITHIN_S = 50
_ALONE = ["unshare", "--mount", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]


@pytest.fixture
async def names():
    async with NameServer(ZONE) as server:
        yield server


async def test_name_that_was_public_when_it_was_accepted_is_refused_when_it_is_not_any_more(names):
    async with (
        Receiver() as trap,
        WebhookSender(allow_private=False, resolver=Asker(names)) as sender,
    ):
        target = await resolve(trap.https(HOST), allow_private=False, resolver=Asker(names))
        result = await sender.send(trap.https(HOST), b"{}", {})

    assert [str(address) for address in target.addresses] == [PUBLIC]
    assert isinstance(result, Failed)
    assert (result.reason, trap.connections) == (FailureReason.ADDRESS_REFUSED, 0)
    assert names.asked == [(HOST, AAAA), (HOST, A)] * 2


@pytest.mark.parametrize("name", [name for name in ZONE if name != HOST])
async def test_name_with_a_private_answer_is_refused_in_every_form(names, name):
    async with (
        Receiver() as trap,
        WebhookSender(allow_private=False, resolver=Asker(names)) as sender,
    ):
        with pytest.raises(AddressRefused):
            await resolve(trap.https(name), allow_private=False, resolver=Asker(names))
        result = await sender.send(trap.https(name), b"{}", {})

    assert isinstance(result, Failed)
    assert (result.reason, trap.connections) == (FailureReason.ADDRESS_REFUSED, 0)


async def test_the_systems_resolver_is_asked_once_for_each_connection(tmp_path):
    """All of it as in production, in a network of its own: real names, real TLS, port 443, private ones not allowed."""
    if any(shutil.which(tool) is None for tool in ("unshare", "ip", "mount")):
        pytest.skip("this machine has no unshare, ip or mount")
    if subprocess.run([*_ALONE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody have a network of his own")

    process = await asyncio.create_subprocess_exec(
        *_ALONE, sys.executable, "-m", rebinding.__name__, str(tmp_path), cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(_WITHIN_S):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    happened = json.loads(said)

    refused = FailureReason.ADDRESS_REFUSED
    assert (
        happened["sent"]
        == happened["fetched"]
        == {
            "came": {name: ["delivered" if name == HOST else refused, refused] for name in ZONE},
            "asked": sorted([name, kind] for name in ZONE for kind in (A, AAAA) for _ in "ab"),
        }
    )
    assert (happened["heard"], happened["trapped"]) == (["POST", "GET"], 0)
