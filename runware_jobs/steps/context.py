"""What the steps of a worker work with: handed in by `assembly`, never read from settings here."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from runware_jobs.core.answers import CostPer
from runware_jobs.core.settling import Patience

from .doubts import Doubts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from sqlalchemy.ext.asyncio import AsyncEngine

    from runware_jobs.archive import Archive
    from runware_jobs.client import Runware
    from runware_jobs.core.schedule import Expected
    from runware_jobs.core.signing import Vault
    from runware_jobs.store.estimates import LearnedAs
    from runware_jobs.store.processes import Owner
    from runware_jobs.webhooks import WebhookSender

    from .pace import Pace

    PublishLink = Callable[[Mapping[str, Any], Mapping[str, Any]], None]
    SendSignal = Callable[[str, Mapping[str, Any] | None, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tempo:
    """The worker's numbers, all in seconds or counts."""

    send_window_s: float
    submit_group_size: int
    poll_group_size: int
    poll_min_interval_s: float
    request_timeout_s: float
    reconcile_grace_s: float
    reconcile_max_age_s: float
    resends: bool
    lost_after_s: float
    stuck_after_s: float
    lease_s: float
    clocks: int

    @property
    def patience(self) -> Patience:
        """What of it is about doubt."""
        return Patience(
            lost_after_s=self.lost_after_s,
            stuck_after_s=self.stuck_after_s,
            resend_after_s=max(self.reconcile_grace_s, self.request_timeout_s),
            resend_within_s=self.reconcile_max_age_s,
            resends=self.resends,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A worker process, as its steps see it.

    `owner` is the lease that moves name; a process that lost it goes on with
    another context. `vault` None: webhooks cannot be signed and stay in the outbox.
    `archive` None: outputs stay where the platform keeps them.
    `pace` gives the turn that each request to the platform waits for; `doubts` keeps
    what the platform said of the account itself, until it was looked into; `outbox_due`
    is set when something was written that is to leave; `expected`
    is how long tasks take, by model and size, where that was learned.
    `callback_base_url` None: the platform cannot call back. `cost_per` is what the cost
    of an item is taken for.
    `signals` names those with receivers here. `send_signal` and `publish_link` belong to the shell that has Celery; both block and
    are called in threads.
    """

    engine: AsyncEngine
    client: Runware
    pace: Pace
    sender: WebhookSender
    vault: Vault | None
    archive: Archive | None
    owner: Owner
    secret: bytes
    tempo: Tempo
    signals: frozenset[str]
    send_signal: SendSignal
    publish_link: PublishLink
    doubts: Doubts = field(default_factory=Doubts)
    outbox_due: asyncio.Event = field(default_factory=asyncio.Event)
    expected: dict[LearnedAs, Expected] = field(default_factory=dict)
    callback_base_url: str | None = None
    cost_per: CostPer = CostPer.ITEM
    random: Callable[[], float] = field(default=random.random)

    def owned_by(self, owner: Owner) -> Context:
        """Give the same context under a new lease."""
        return replace(self, owner=owner)
