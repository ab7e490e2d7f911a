"""The moves of workers, producers, people and time, each one transaction; what they are about is picked by number.

A move is a value, so that a failing run is a list of them. `make` writes through the
store and does not commit; it may give a function to be called once that is done.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from runware_jobs.core.answers import Answer, JobError
from runware_jobs.core.decisions import (
    SendOutcome,
    Sent,
    after_answer,
    after_late_answer,
    after_loss,
    after_send,
    note_settlement,
)
from runware_jobs.core.identity import new_job_id
from runware_jobs.core.request import Options, make_job
from runware_jobs.core.states import FINAL
from runware_jobs.errors import RunwareJobsError
from runware_jobs.steps import cancel as steps
from runware_jobs.steps.words import item_error
from runware_jobs.store import batches, deadlines, pauses, processes, pruning
from runware_jobs.store.claims import claim
from runware_jobs.store.enqueue import enqueue
from runware_jobs.store.moves import announce, carry_out, lock_lost, lock_owned
from runware_jobs.store.plans import run_async
from tests.support.queued import BASE_URL, LIGHTHOUSE
from tests.support.rows import change_rows, read_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from runware_jobs.core.moves import LiveAttempt
    from runware_jobs.core.moves import Move as Decided
    from runware_jobs.store.processes import Owner
    from tests.store.machine_tables import Tables

    Done = Callable[[], None] | None

BATCHES: Final = (UUID(int=1), UUID(int=2))
"""The first has a budget, the second none."""

LEASE_S: Final = 60.0
_MESSAGES: Final[Mapping[str, SendOutcome]] = {
    "accepted": SendOutcome(Sent.ACCEPTED),
    "conflict": SendOutcome(Sent.CONFLICT),
    "invalid": SendOutcome(Sent.REFUSED, error=JobError("validation", "wrong")),
    "out of order": SendOutcome(Sent.REFUSED, error=JobError("serverError", "try again")),
    "busy": SendOutcome(Sent.BUSY, error=JobError("rateLimit", "slow down"), retry_after_s=1.0),
    "blocked": SendOutcome(Sent.BLOCKED, error=JobError("auth", "no")),
    "not sent": SendOutcome(Sent.NOT_SENT, error=JobError("connection", "no route")),
    "unclear": SendOutcome(Sent.UNCLEAR, error=JobError("timeout", "no answer")),
}
OUTCOMES: Final = tuple(_MESSAGES)
FATES: Final = ("open", "paid", "free", "failed", "failing")
"""What becomes of one result: still to come, there with its cost or without one, or an error for good or for now."""


@dataclass(slots=True)
class World:
    """What the moves know: who works under which lease, and what the tables said last."""

    secret: bytes
    account_id: int
    owners: dict[str, Owner]
    seen: Tables
    fates: dict[tuple[UUID, int], str] = field(default_factory=dict)


def _pick(number: int, among: Sequence[Any]) -> Any:
    return among[number % len(among)] if among else None


@dataclass(frozen=True, slots=True)
class Enqueue:
    """A producer adds jobs: to a batch, under a key, with a deadline, or none of these."""

    jobs: int
    tenant: str
    priority: int
    batch: int | None
    key: str | None
    results: int
    deadline_s: float | None

    async def make(self, world: World, connection: AsyncConnection) -> Done:
        options = Options(
            tenant=self.tenant,
            priority=self.priority,
            idempotency_key=self.key,
            deadline_s=self.deadline_s,
            start_deadline_s=self.deadline_s,
            max_attempts=2,
            on_partial="fail" if self.priority else "succeed",
        )
        params = {**LIGHTHOUSE, "numberResults": self.results}
        new = [make_job(new_job_id(), "run", params, options) for _ in range(self.jobs)]
        batch_id = None if self.batch is None else BATCHES[self.batch]
        plan = enqueue(new, base_url=BASE_URL, fallback_url=BASE_URL, batch_id=batch_id)
        added = await run_async(connection, plan)
        # Under one key they are one job, whichever of them was written.
        assert self.key is None or sum(not one.replayed for one in added) <= 1


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker takes what is due."""

    worker: str
    limit: int

    async def make(self, world: World, connection: AsyncConnection) -> Done:
        owner = world.owners[self.worker]
        taken = await claim(connection, owner, secret=world.secret, limit=self.limit, send_window_s=5.0)
        assert len(taken.jobs) <= self.limit


async def _record(
    world: World,
    connection: AsyncConnection,
    worker: str,
    pick: int,
    states: set[str],
    decide: Callable[[LiveAttempt], Decided],
) -> None:
    """Lock, decide, write, as `steps.record` does; whoever is no owner (any more) must find nothing."""
    owner = world.owners[worker]
    ours = [one for one in world.seen.under_way if one["owner_id"] == owner.id and one["state"] in states]
    attempt = _pick(pick, ours or world.seen.under_way)
    if attempt is None:
        return
    live = await lock_owned(connection, owner, [attempt["task_uuid"]])
    if live:
        [row] = await read_rows(
            connection, "SELECT owner_id, epoch FROM attempt WHERE task_uuid = :id", id=attempt["task_uuid"]
        )
        assert (row["owner_id"], row["epoch"]) == (owner.id, owner.epoch), "locked what is not ours"
    await carry_out(connection, [decide(one) for one in live.values()])


@dataclass(frozen=True, slots=True)
class Send:
    """A worker records what came of a send, or of a resend."""

    worker: str
    pick: int
    outcome: str

    async def make(self, world: World, connection: AsyncConnection) -> Done:
        def decide(live: LiveAttempt) -> Decided:
            return after_send(live, _MESSAGES[self.outcome], classify=item_error, random=0.5)

        await _record(world, connection, self.worker, self.pick, {"sending", "unclear"}, decide)


def _answer(world: World, task: UUID, expected: int, fates: Sequence[str]) -> Answer:
    """Give a cumulative answer of a platform that never takes back what it has said."""
    items: list[Mapping[str, Any]] = []
    for place, fate in enumerate(fates[:expected]):
        told = (
            world.fates.setdefault((task, place), fate)
            if fate != "open"
            else world.fates.get((task, place), fate)
        )
        item: dict[str, Any] = {"taskType": "imageInference", "resultIndex": place, "status": "success"}
        if told in {"paid", "free"}:
            item["imageURL"] = f"https://im.test/{place}"
        if told == "paid":
            item["cost"] = 0.02
        if told == "open":
            item |= {"status": "processing", "progress": 40}
        if told in {"failed", "failing"}:
            code = "invalidPrompt" if told == "failed" else "internalServerError"
            item |= {"status": "error", "error": {"code": code, "message": "no"}}
        items.append(item)
    return Answer(tuple(items))


@dataclass(frozen=True, slots=True)
class Poll:
    """A worker records what the platform says of a task."""

    worker: str
    pick: int
    fates: tuple[str, ...]

    async def make(self, world: World, connection: AsyncConnection) -> Done:
        def decide(live: LiveAttempt) -> Decided:
            answer = _answer(world, live.task_uuid, live.results_expected, self.fates)
            return after_answer(live, answer, classify=item_error, random=0.5)

        await _record(world, connection, self.worker, self.pick, {"accepted", "unclear"}, decide)


@dataclass(frozen=True, slots=True)
class Settle:
    """A worker notes one step of a settlement: asked in vain, about to resend, or lost for good."""

    worker: str
    pick: int
    step: str

    async def make(self, world: World, connection: AsyncConnection) -> Done:
        def decide(live: LiveAttempt) -> Decided:
            if self.step == "lost":
                return after_loss(live, "nobody knows it")
            return note_settlement(live, "archive", "unknown", resent=True if self.step == "resend" else None)

        states = {"accepted", "unclear"} if self.step == "lost" else {"unclear"}
        await _record(world, connection, self.worker, self.pick, states, decide)


@dataclass(frozen=True, slots=True)
class AskAgain:
    """A person asks about a task that was given up as lost."""

    pick: int
    fates: tuple[str, ...]

    async def make(self, world: World, connection: AsyncConnection) -> Done:
        lost = [one["task_uuid"] for one in world.seen.attempts.values() if one["outcome"] == "lost"]
        live = await lock_lost(connection, [task] if (task := _pick(self.pick, lost)) else [])
        await carry_out(
            connection,
            [
                after_late_answer(
                    one, _answer(world, one.task_uuid, one.results_expected, self.fates), classify=item_error
                )
                for one in live.values()
            ],
        )


@dataclass(frozen=True, slots=True)
class Cancel:
    """A person cancels a job."""

    pick: int

    async def make(self, world: World, connection: AsyncConnection) -> Done:
        if job_id := _pick(self.pick, list(world.seen.jobs)):
            await steps.cancel(connection, job_id, tenant=None)


@dataclass(frozen=True, slots=True)
class Retry:
    """A person runs a job again that failed or was canceled."""

    pick: int
    accept: bool

    async def make(self, world: World, connection: AsyncConnection) -> Done:
        ended = [job["id"] for job in world.seen.jobs.values() if job["state"] in FINAL]
        if job_id := _pick(self.pick, ended):
            await steps.retry(connection, job_id, tenant=None, accept_double_billing=self.accept)


@dataclass(frozen=True, slots=True)
class Lapse:
    """A worker is not heard of for longer than its lease: paused, or cut off."""

    worker: str

    async def make(self, world: World, connection: AsyncConnection) -> Done:
        await change_rows(
            connection,
            "UPDATE process SET heartbeat_at = now() - interval '1 hour' WHERE id = :id AND stopped_at IS NULL",
            id=world.owners[self.worker].id,
        )
        await change_rows(
            connection,
            "UPDATE attempt SET send_before = now() - interval '1 hour' WHERE owner_id = :id AND state = 'sending'",
            id=world.owners[self.worker].id,
        )


@dataclass(frozen=True, slots=True)
class Adopt:
    """A worker takes over what nobody alive follows."""

    worker: str

    async def make(self, world: World, connection: AsyncConnection) -> Done:
        await processes.adopt(connection, world.owners[self.worker], lease_s=LEASE_S, limit=10)


@dataclass(frozen=True, slots=True)
class Beat:
    """A worker's heartbeat; one that has lost its lease takes a new one, or does not notice yet."""

    worker: str
    notices: bool

    async def make(self, world: World, connection: AsyncConnection) -> Done:
        owner = world.owners[self.worker]
        if await processes.heartbeat(connection, owner, clocks=2) is not None or not self.notices:
            return None
        again = await processes.register_again(connection, owner)
        return lambda: world.owners.update({self.worker: again})


@dataclass(frozen=True, slots=True)
class Leave:
    """A worker drains: it gives back what it follows. It goes on as if it did not know, until its next beat."""

    worker: str

    async def make(self, world: World, connection: AsyncConnection) -> Done:
        await processes.give_back(connection, world.owners[self.worker])


@dataclass(frozen=True, slots=True)
class TimePasses:
    """What waits is due; deadlines of one job pass; and somebody looks after deadlines and batches."""

    what: str
    pick: int

    async def make(self, world: World, connection: AsyncConnection) -> Done:
        match self.what:
            case "due":
                await change_rows(connection, "UPDATE job SET run_at = now() WHERE state = 'queued'")
                await change_rows(connection, "UPDATE flow SET probe_at = now() WHERE probe_at IS NOT NULL")
            case "late":
                await change_rows(
                    connection,
                    "UPDATE job SET deadline_at = now(), start_deadline_at = now() WHERE id = :id AND deadline_at IS NOT NULL",
                    id=_pick(self.pick, list(world.seen.jobs)),
                )
            case "deadlines":
                late = await deadlines.end_late_jobs(connection, limit=10)
                await announce(
                    connection,
                    [
                        {"job_id": str(one), "type": f"job.{state}", "data": {}, "back": 0}
                        for one, state in late.items()
                    ],
                )
            case "batches":
                await batches.complete_batches(connection)
            case "prune":
                await change_rows(connection, "DELETE FROM outbox")
                await pruning.prune_jobs(connection, older_than_s=0, limit=2)


@dataclass(frozen=True, slots=True)
class Govern:
    """A person pauses, resumes, seals or cancels: a batch, or the account."""

    what: str
    pick: int

    async def make(self, world: World, connection: AsyncConnection) -> Done:
        batch_id = _pick(self.pick, BATCHES)
        match self.what:
            case "pause":
                await batches.pause_batch(connection, batch_id, reason="user")
            case "resume":
                await batches.resume_batch(connection, batch_id, budget_usd=None)
            case "seal":
                await batches.seal_batch(connection, batch_id)
            case "cancel":
                await batches.cancel_batch(connection, batch_id)
                ids = await batches.open_jobs_of(connection, batch_id, limit=100)
                await steps.cancel_locked(connection, [row["id"] for row in await _locked(connection, ids)])
            case "pause account":
                await pauses.pause_by_hand(connection, world.account_id, reason="by hand")
            case "resume account":
                await pauses.resume_by_hand(connection, world.account_id)


async def _locked(connection: AsyncConnection, ids: Sequence[UUID]) -> Sequence[Mapping[str, Any]]:
    return await steps.jobs.lock_jobs(connection, ids, tenant=None)


Any_Move = (
    Enqueue
    | Claim
    | Send
    | Poll
    | Settle
    | AskAgain
    | Cancel
    | Retry
    | Lapse
    | Adopt
    | Beat
    | Leave
    | TimePasses
    | Govern
)
REFUSED: Final = RunwareJobsError
"""What a move may be answered with; its transaction is then rolled back."""
