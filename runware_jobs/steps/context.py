"""What the steps of a worker work with: handed in by `assembly`, never read from settings here."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from runware_jobs.core.answers import CostPer
from runware_jobs.core.settling import Patience

from .doubts import Doubts
from .progress import ProgressNews
from .questions import Silence
from .signals import InHand
from .threads import CallThreads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from sqlalchemy.ext.asyncio import AsyncEngine

    from runware_jobs.archive import Archive
    from runware_jobs.client import Runware
    from runware_jobs.core.canvas import Ended, Message
    from runware_jobs.core.schedule import Expected
    from runware_jobs.core.signing import Vault
    from runware_jobs.store.celery_chords import Chord
    from runware_jobs.store.estimates import LearnedAs
    from runware_jobs.store.processes import Owner
    from runware_jobs.webhooks import WebhookSender

    from .pace import Pace

    PublishLink = Callable[[Mapping[str, Any], Mapping[str, Any]], None]
    # A name for the log, and what calls it with a job and an event, in the thread it is called in.
    Receiver = tuple[str, Callable[[Mapping[str, Any] | None, Mapping[str, Any]], None]]
    Receivers = Callable[[str], Sequence[Receiver]]


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


class OutboxDue(asyncio.Event):
    """Set when something was written that is to leave. `signals`, `links` and `webhooks` are its twins for those, who leave by themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.signals = asyncio.Event()
        self.links = asyncio.Event()
        self.webhooks = asyncio.Event()

    def set(self) -> None:
        """Wake all."""
        super().set()
        self.signals.set()
        self.links.set()
        self.webhooks.set()


class CelerySide(Protocol):
    """What only the shell that has Celery can do; both methods block.

    They raise OSError, or what the database raises, while what they need is away.
    """

    def go_on(self, message: Message, ended: Ended) -> None:
        """Publish one thing that follows a job which came as a Celery task."""

    def end_chord(self, chord: Chord) -> None:
        """Publish the body of a complete chord, or fail it."""


class NoCelery:
    """The side of a process without Celery: what it cannot publish stays for one that can."""

    def go_on(self, message: Message, ended: Ended) -> None:
        raise ConnectionError(f"this process has no Celery: {message.key} of job {ended.job_id} stays")

    def end_chord(self, chord: Chord) -> None:
        raise ConnectionError(f"this process has no Celery: chord {chord.group_id} stays")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A worker process, as its steps see it.

    `owner` is the lease that moves name; a process that lost it goes on with
    another context. `vault` None: webhooks cannot be signed and stay in the outbox.
    `archive` None: outputs stay where the platform keeps them.
    `pace` gives the turn that each request to the platform waits for; `doubts` keeps
    what the platform said of the account itself, until it was looked into; `silence` when to
    look again whether it answers at all; `outbox_due`
    is set when something was written that is to leave; `expected`
    is how long tasks take, by model and size, where that was learned.
    `callback_base_url` None: the platform cannot call back. `cost_per` is what the cost
    of an item is taken for.
    `signals` names those with receivers here, and `receivers` gives those that a signal has at the
    moment. They, `publish_link` and `celery` belong to the shell that has Celery; all of them block and
    are called in threads: receivers in `threads`. `signals_in_hand` and `progress` are what this
    process is telling. `progress_sender` None: progress leaves by no webhook.
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
    receivers: Receivers
    publish_link: PublishLink
    celery: CelerySide = field(default_factory=NoCelery)
    doubts: Doubts = field(default_factory=Doubts)
    silence: Silence = field(default_factory=Silence)
    outbox_due: OutboxDue = field(default_factory=OutboxDue)
    threads: CallThreads = field(default_factory=CallThreads)
    signals_in_hand: InHand = field(default_factory=InHand)
    progress: ProgressNews = field(default_factory=ProgressNews)
    progress_sender: WebhookSender | None = None
    expected: dict[LearnedAs, Expected] = field(default_factory=dict)
    callback_base_url: str | None = None
    cost_per: CostPer = CostPer.ITEM
    random: Callable[[], float] = field(default=random.random)

    def owned_by(self, owner: Owner) -> Context:
        """Give the same context under a new lease."""
        return replace(self, owner=owner)
