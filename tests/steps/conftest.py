"""A worker's context without a worker: real client, real Postgres, an emulator in a process of its own."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from runware_jobs.client import Runware
from runware_jobs.core.signing import Vault
from runware_jobs.steps.context import Context, Tempo
from runware_jobs.steps.pace import Pace
from runware_jobs.steps.poll import poll
from runware_jobs.store import accounts, processes
from runware_jobs.webhooks import WebhookSender
from tests.support.queued import register_worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runware_jobs.steps.context import Receiver
    from runware_jobs.steps.watch import Watch

TEMPO = Tempo(
    send_window_s=5,
    submit_group_size=50,
    poll_group_size=100,
    poll_min_interval_s=0.01,
    request_timeout_s=0,
    reconcile_grace_s=0,
    reconcile_max_age_s=3600,
    resends=True,
    lost_after_s=3600,
    stuck_after_s=86_400,
    lease_s=60,
    clocks=2,
)


@dataclass
class Heard:
    """What receivers and links in this process were given."""

    signals: list[tuple[str, Any, Any]] = field(default_factory=list)
    links: list[tuple[Any, Any]] = field(default_factory=list)

    def receivers(self, name: str) -> list[Receiver]:
        """Give the one receiver of each signal, which writes down what it is told."""
        return [("heard", lambda job, event: self.signals.append((name, job, event)))]


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def workers(engine, emulator, heard):
    """Open worker contexts: `async with workers(transport=..., signals=..., **tempo) as context`."""

    @asynccontextmanager
    async def open_worker(*, transport="rest", signals=(), archive=None, api_key="k", **tempo):
        client = Runware(
            api_key=api_key,
            transport=transport,
            http_base_url=emulator.http_base_url,
            ws_base_url=emulator.ws_base_url,
            submit_timeout=2_000,
            encode_local_files=False,
        )
        async with WebhookSender(allow_private=True) as sender:
            async with engine.begin() as connection:
                base = await register_worker(connection)
                owner = await processes.register(
                    connection,
                    account_id=base.account_id,
                    host="test",
                    pid=2,
                    signals=list(signals),
                    archives=archive is not None,
                )
                await processes.give_back(connection, base)
                secret = await accounts.installation_secret(connection)
            yield Context(
                engine=engine,
                client=client,
                pace=Pace(engine, owner.account_id),
                sender=sender,
                vault=Vault("a key for tests"),
                archive=archive,
                owner=owner,
                secret=secret,
                tempo=replace(TEMPO, **tempo),
                signals=frozenset(signals),
                receivers=heard.receivers,
                progress_sender=sender,
                publish_link=lambda *told: heard.links.append(told),
                random=lambda: 0.5,
            )
        await client.close()

    return open_worker


async def follow(context: Context, watches: Sequence[Watch], *, polls: int = 500) -> list[Watch]:
    """Poll until nothing is left to follow, or `polls` times; the platform's time passes by itself."""
    left = list(watches)
    for _ in range(polls):
        if not left:
            break
        left = await poll(context, left)
    return left
