"""Jobs in the state that a test is about, brought there by the moves that bring them there in life."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runware_jobs.core.decisions import SendOutcome, Sent, after_send
from runware_jobs.core.identity import new_job_id
from runware_jobs.core.request import Options, make_job
from runware_jobs.steps.words import item_error
from runware_jobs.store import accounts, processes
from runware_jobs.store.claims import claim
from runware_jobs.store.enqueue import enqueue
from runware_jobs.store.moves import carry_out, lock_owned
from runware_jobs.store.plans import run_async

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection

    from runware_jobs.core.moves import LiveAttempt
    from runware_jobs.store.claims import Claimed
    from runware_jobs.store.processes import Owner

BASE_URL = "http://emulator.test/v1"
LIGHTHOUSE: dict[str, Any] = {
    "taskType": "imageInference",
    "model": "runware:400@1",
    "positivePrompt": "a lighthouse",
    "width": 1024,
    "height": 1024,
}
_NO_LIMITS = accounts.Limits(max_in_flight=1000, max_requests_per_s=1e6, daily_limit_usd=None)


async def register_worker(
    connection: AsyncConnection,
    *,
    organisation: str = "acme",
    base_url: str = BASE_URL,
    limits: accounts.Limits = _NO_LIMITS,
) -> Owner:
    """Register a worker process of an account; both are there afterwards, in this transaction."""
    account_id = await accounts.confirm_account(
        connection, base_url=base_url, organisation=organisation, limits=limits
    )
    return await processes.register(connection, account_id=account_id, host="test", pid=1, signals=[])


async def enqueue_jobs(
    connection: AsyncConnection,
    count: int = 1,
    *,
    batch_id: UUID | None = None,
    base_url: str = BASE_URL,
    kind: str = "run",
    params: dict[str, Any] | None = None,
    **options: Any,
) -> list[UUID]:
    """Enqueue jobs: LIGHTHOUSE, an image, overlaid with `params`, under these options of `enqueue`."""
    jobs = [
        make_job(new_job_id(), kind, {**LIGHTHOUSE, **(params or {})}, Options(**options))
        for _ in range(count)
    ]
    added = await run_async(
        connection, enqueue(jobs, base_url=base_url, fallback_url=base_url, batch_id=batch_id)
    )
    return [one.job_id for one in added]


async def claim_jobs(
    connection: AsyncConnection, owner: Owner, *, limit: int = 50, send_window_s: float = 5.0
) -> Sequence[Claimed]:
    """Claim what is due: the jobs are `submitting`, their attempts `sending` and owned."""
    secret = await accounts.installation_secret(connection)
    taken = await claim(connection, owner, secret=secret, limit=limit, send_window_s=send_window_s)
    return taken.jobs


async def accept_tasks(connection: AsyncConnection, owner: Owner, task_uuids: Iterable[UUID]) -> None:
    """Let the platform have accepted claimed tasks: the jobs are `running`."""

    def accepted(live: LiveAttempt) -> Any:
        return after_send(live, SendOutcome(Sent.ACCEPTED), classify=item_error, random=0.5)

    live = await lock_owned(connection, owner, task_uuids)
    await carry_out(connection, [accepted(attempt) for attempt in live.values()])
