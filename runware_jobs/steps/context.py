"""What the steps of a worker work with: handed in by `assembly`, never read from settings here."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from sqlalchemy.ext.asyncio import AsyncEngine

    from runware_jobs.archive import Archive
    from runware_jobs.client import Runware
    from runware_jobs.core.signing import Vault
    from runware_jobs.store.processes import Owner
    from runware_jobs.webhooks import WebhookSender

    PublishLink = Callable[[Mapping[str, Any], Mapping[str, Any]], None]
    SendSignal = Callable[[str, Mapping[str, Any] | None, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tempo:
    """The worker's numbers, all in seconds or counts."""

    send_window_s: float
    submit_group_size: int
    poll_group_size: int
    poll_min_interval_s: float
    reconcile_grace_s: float
    reconcile_max_age_s: float
    resends: bool
    lost_after_s: float
    lease_s: float
    clocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A worker process, as its steps see it.

    `owner` is the lease that moves name; a process that lost it goes on with
    another context. `vault` None: webhooks cannot be signed and stay in the outbox.
    `archive` None: outputs stay where the platform keeps them.
    `signals` names those with receivers here. `send_signal` and `publish_link` belong to the shell that has Celery; both block and
    are called in threads.
    """

    engine: AsyncEngine
    client: Runware
    sender: WebhookSender
    vault: Vault | None
    archive: Archive | None
    owner: Owner
    secret: bytes
    tempo: Tempo
    signals: frozenset[str]
    send_signal: SendSignal
    publish_link: PublishLink
    random: Callable[[], float] = field(default=random.random)

    def owned_by(self, owner: Owner) -> Context:
        """Give the same context under a new lease."""
        return replace(self, owner=owner)
