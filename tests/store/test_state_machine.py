"""Any interleaving of moves, by several workers, producers and people, keeps what the tables promise.

Hypothesis makes up the moves, two at a time where they may meet at a lock, and shortens a
run that breaks a promise to the moves that it takes. `CHAOS_EXAMPLES=2000` looks longer.
"""

from __future__ import annotations

import asyncio
import os
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from sqlalchemy import make_url

from runware_jobs.store import accounts, batches, processes, tenants
from runware_jobs.store.database import open_engine
from tests.store import machine_moves as moves
from tests.store.machine_tables import Ledger, check_step, read_tables
from tests.support.locks import pid_of
from tests.support.queued import BASE_URL, register_worker
from tests.support.servers import empty_every_table

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from sqlalchemy.ext.asyncio import AsyncConnection

    from tests.store.machine_tables import Tables

pytestmark = pytest.mark.slow

_EXAMPLES: Final = int(os.environ.get("CHAOS_EXAMPLES", "20"))
_WORKERS: Final = ("A", "B", "C")

_worker = st.sampled_from(_WORKERS)
_pick = st.integers(0, 5)
_fates = st.tuples(st.sampled_from(moves.FATES), st.sampled_from(moves.FATES))

_enqueues = st.builds(
    moves.Enqueue,
    jobs=st.integers(1, 3),
    tenant=st.sampled_from(["acme", "zeta"]),
    priority=st.sampled_from([0, 5]),
    batch=st.sampled_from([None, 0, 1]),
    key=st.sampled_from([None, None, "k1", "k2"]),
    results=st.integers(1, 2),
    deadline_s=st.sampled_from([None, 3600.0]),
)
_claims = st.builds(moves.Claim, _worker, st.integers(1, 3))
_sends = st.builds(moves.Send, _worker, _pick, st.sampled_from(("accepted", *moves.OUTCOMES)))
_polls = st.builds(moves.Poll, _worker, _pick, _fates)
_people = st.one_of(
    st.builds(moves.Cancel, _pick),
    st.builds(moves.Retry, _pick, st.booleans()),
    st.builds(moves.AskAgain, _pick, _fates),
    st.builds(
        moves.Govern,
        st.sampled_from(
            ["pause", "resume", "seal", "cancel", "pause account", "resume account", "resume account"]
        ),
        _pick,
    ),
)
_leases = st.one_of(
    st.builds(moves.Lapse, _worker),
    st.builds(moves.Adopt, _worker),
    st.builds(moves.Beat, _worker, st.booleans()),
    st.builds(moves.Leave, _worker),
)
_time = st.builds(
    moves.TimePasses, st.sampled_from(["due", "due", "late", "deadlines", "batches", "prune"]), _pick
)
_settles = st.builds(moves.Settle, _worker, _pick, st.sampled_from(["note", "resend", "lost"]))
_any = st.one_of(_enqueues, _claims, _sends, _sends, _polls, _polls, _settles, _people, _leases, _time)


class Store(RuleBasedStateMachine):
    """The store, three workers, and whoever else writes to it."""

    database_url: str

    def __init__(self) -> None:
        super().__init__()
        empty_every_table(self.database_url)
        self._loop = asyncio.new_event_loop()
        # What a crash would lose is not what this is about, and waiting for the disk is most of the time.
        fast = make_url(self.database_url).update_query_dict({"options": "-c synchronous_commit=off"})
        self._engine = open_engine(fast.render_as_string(hide_password=False), pool_size=4)
        self._reading = psycopg.connect(self.database_url, autocommit=True)

    def teardown(self) -> None:
        self._run(self._engine.dispose())
        self._loop.close()
        self._reading.close()

    @initialize(
        places=st.integers(1, 4),
        daily=st.sampled_from([None, Decimal("0.10")]),
        budget=st.sampled_from([None, Decimal("0.05")]),
    )
    def open(self, places: int, daily: Decimal | None, budget: Decimal | None) -> None:
        """Three workers of one account, and two batches; budgets of a batch and a tenant."""
        self._run(
            self._open(
                accounts.Limits(max_in_flight=places, max_requests_per_s=1e6, daily_limit_usd=daily), budget
            )
        )

    async def _open(self, limits: accounts.Limits, budget: Decimal | None) -> None:
        async with self._engine.begin() as connection:
            first = await register_worker(connection, base_url=BASE_URL, limits=limits)
            owners = {"A": first} | {
                name: await processes.register(
                    connection, account_id=first.account_id, host=name, pid=1, signals=[]
                )
                for name in _WORKERS[1:]
            }
            for batch_id, usd in zip(moves.BATCHES, (budget, None), strict=True):
                await batches.create_batch(connection, batch_id, tenant="acme", name="", budget_usd=usd)
            await tenants.set_tenant_budget(connection, "zeta", budget)
            secret = await accounts.installation_secret(connection)
        self._ledger = Ledger()
        self._world = moves.World(
            secret=secret, account_id=first.account_id, owners=owners, seen=read_tables(self._reading)
        )

    @rule(move=_any)
    def alone(self, move: moves.Any_Move) -> None:
        """One transaction from its beginning to its end."""
        self._run(self._alone(move))

    @rule(
        worker=_worker,
        enqueued=_enqueues,
        limit=st.integers(1, 3),
        outcome=st.sampled_from(moves.OUTCOMES),
        fates=_fates,
    )
    def usual_way(
        self, worker: str, enqueued: moves.Enqueue, limit: int, outcome: str, fates: tuple[str, ...]
    ) -> None:
        """Most of what happens: it is enqueued, claimed, sent and polled."""
        self.alone(enqueued)
        self.alone(moves.Claim(worker, limit))
        self.alone(moves.Send(worker, 0, outcome))
        self.alone(moves.Poll(worker, 0, fates))

    @rule(first=_any, second=_any, keeps=st.booleans())
    def together(self, first: moves.Any_Move, second: moves.Any_Move, keeps: bool) -> None:
        """Two transactions: the second has come to a lock of the first, or to its end, when the first ends."""
        self._run(self._together(first, second, keeps=keeps))

    @rule(
        enqueued=_enqueues,
        workers=st.permutations(_WORKERS),
        limits=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    )
    def two_claim(self, enqueued: moves.Enqueue, workers: list[str], limits: tuple[int, int]) -> None:
        """Two workers want what there is at once: what one takes, the other's limits must feel."""
        self.alone(enqueued)
        self.together(moves.Claim(workers[0], limits[0]), moves.Claim(workers[1], limits[1]), keeps=True)

    async def _alone(self, move: moves.Any_Move) -> None:
        async with self._engine.connect() as connection:
            done = await self._make(move, connection)
            await connection.commit()
        self._look(done)

    async def _together(self, first: moves.Any_Move, second: moves.Any_Move, *, keeps: bool) -> None:
        async with self._engine.connect() as one, self._engine.connect() as other:
            began = self._world.seen
            done = await self._make(first, one)
            pid = await pid_of(other)
            making = asyncio.create_task(self._make(second, other))
            while not (making.done() or self._is_waiting(pid)):
                await asyncio.sleep(0)
            await (one.commit() if keeps else one.rollback())
            also_done = await making
            self._look(done if keeps else None, began)
            await other.commit()
        self._look(also_done, began)

    def _is_waiting(self, pid: int) -> bool:
        row = self._reading.execute(
            "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s", [pid]
        ).fetchone()
        return bool(row and row[0])

    async def _make(self, move: moves.Any_Move, connection: AsyncConnection) -> Any:
        try:
            return await move.make(self._world, connection)
        except moves.REFUSED:
            await connection.rollback()
            return None

    def _look(self, done: Any, began: Tables | None = None) -> None:
        before, now = self._world.seen, read_tables(self._reading)
        check_step(before, now, self._ledger, secret=self._world.secret, began=began or before)
        self._world.seen = now
        if done is not None:
            done()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        self._loop.run_until_complete(work)


@pytest.mark.timeout(60 + _EXAMPLES * 10)
def test_any_interleaving_of_moves_keeps_the_invariants(clean_database: str) -> None:
    Store.database_url = clean_database
    run_state_machine_as_test(
        Store,
        settings=settings(
            max_examples=_EXAMPLES,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
            print_blob=True,
        ),
    )
