"""What a claim costs when half a million jobs are queued, beside one `ORDER BY ... SKIP LOCKED` over one table.

    make bench WHAT=claims
    make bench WHAT=claims ARGS="--jobs 50000 --claims 2000"

A claim here is the whole transaction: which jobs go out, their attempts written, the
counters debited, the commit. The plain one writes its state only. Rows are made with
SQL on an embedded Postgres without autovacuum, so that dead entries stay where a busy
database has them. Ratios count, not figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from benchmarks.stage import Engines, running_engines
from runware_jobs.store import accounts, processes
from runware_jobs.store.claims import claim
from runware_jobs.store.database import open_engine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    Claim = Callable[[AsyncConnection], Awaitable[int]]

_BUCKETS = 2_000
_EMPTY_BUCKETS = 5_000
_GROUP = 50
_LOOKS = 60
_WARM = 5
_WIDTH = 100
_LIMITS = accounts.Limits(max_in_flight=2_000_000_000, max_requests_per_s=1e9, daily_limit_usd=None)
_BASE_URL = "http://benchmark.test/v1"


@dataclass(frozen=True, slots=True)
class Mix:
    """How the jobs lie: which part of the buckets is paused, and how many buckets are open and empty."""

    name: str
    paused: float
    empty: int = 0


MIXES = (
    Mix("all in one paused batch", 1.0),
    Mix("half paused", 0.5),
    Mix("all open", 0.0),
    Mix(f"all open, {_EMPTY_BUCKETS:,} empty besides", 0.0, _EMPTY_BUCKETS),
)


@dataclass(frozen=True, slots=True)
class Row:
    """Milliseconds of one claim of a group, and how many jobs came with it."""

    mix: str
    way: str
    taken_before: int
    median_ms: float
    p95_ms: float
    jobs: float


def main() -> None:
    """Measure every mix, then claim on without a vacuum and measure again."""
    parser = argparse.ArgumentParser(prog="make bench WHAT=claims", description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=500_000)
    parser.add_argument("--claims", type=int, default=100_000, help="jobs to claim before the second look")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with running_engines(autovacuum="off") as engines:
        rows = asyncio.run(measure_all(engines, options.jobs, options.claims))
    if options.json:
        print(json.dumps({"jobs": options.jobs, "rows": [asdict(row) for row in rows]}))
    else:
        show(rows, options.jobs)


async def measure_all(engines: Engines, jobs: int, claims: int) -> list[Row]:
    """Measure ours and the plain way in each mix; the one with all open also after many claims."""
    rows: list[Row] = []
    engine = open_engine(engines.database_url, pool_size=1)
    try:
        for mix in MIXES:
            engines.empty()
            ours = await prepare(engine, mix, jobs)
            for way, take in {"ours": ours, "one table": take_plainly}.items():
                rows.append(await look(engine, mix.name, way, take, before=0))
            if mix.paused == 0 and not mix.empty:
                for way, take in {"ours": ours, "one table": take_plainly}.items():
                    taken = await claim_many(engine, take, claims)
                    rows.append(await look(engine, mix.name, way, take, before=taken))
    finally:
        await engine.dispose()
    return rows


async def prepare(engine: AsyncEngine, mix: Mix, jobs: int) -> Claim:
    """Fill both ways' tables alike; gives our claim."""
    async with engine.begin() as connection:
        secret = await accounts.installation_secret(connection)
        account_id = await accounts.confirm_account(
            connection, base_url=_BASE_URL, organisation="benchmark", limits=_LIMITS
        )
        owner = await processes.register(
            connection, account_id=account_id, host="benchmark", pid=1, signals=[]
        )
        values = {
            "account_id": account_id,
            "jobs": jobs,
            "buckets": _BUCKETS,
            "empty": mix.empty,
            "paused": round(mix.paused * _BUCKETS),
        }
        for statement in _FILL:
            used = {name: value for name, value in values.items() if f":{name}" in statement}
            await connection.execute(text(statement), used)

    async def take(connection: AsyncConnection) -> int:
        taken = await claim(connection, owner, secret=secret, limit=_GROUP, send_window_s=5.0)
        return len(taken.jobs)

    return take


async def take_plainly(connection: AsyncConnection) -> int:
    """Take the first jobs of one table, as queues on Postgres do."""
    taken = await connection.execute(text(_PLAIN), {"limit": _GROUP})
    return len(taken.all())


async def look(engine: AsyncEngine, mix: str, way: str, take: Claim, *, before: int) -> Row:
    """Claim some groups, each in a transaction of its own, and time them."""
    times: list[float] = []
    jobs: list[int] = []
    for place in range(_WARM + _LOOKS):
        began = time.perf_counter()
        async with engine.begin() as connection:
            count = await take(connection)
        if place >= _WARM:
            times.append((time.perf_counter() - began) * 1_000)
            jobs.append(count)
    times.sort()
    return Row(
        mix=mix,
        way=way,
        taken_before=before,
        median_ms=round(statistics.median(times), 2),
        p95_ms=round(times[int(0.95 * (len(times) - 1))], 2),
        jobs=round(statistics.mean(jobs), 1),
    )


async def claim_many(engine: AsyncEngine, take: Claim, claims: int) -> int:
    """Claim so many jobs in groups, or all there are; gives how many."""
    taken = 0
    while taken < claims:
        async with engine.begin() as connection:
            count = await take(connection)
        if not count:
            break
        taken += count
    return taken


def show(rows: list[Row], jobs: int) -> None:
    """Print the table; the ratio is against ours in the same mix."""
    title = f"{jobs:,} jobs in {_BUCKETS:,} buckets: one claim of {_GROUP}, commit included"
    table = Table(title=title, title_justify="left")
    table.add_column("mix")
    for head in ("claimed before", "way", "jobs", "median ms", "p95 ms", "times ours"):
        table.add_column(head, justify="right")
    ours: dict[tuple[str, bool], Row] = {}
    for row in rows:
        base = ours.setdefault((row.mix, row.taken_before > 0), row)
        table.add_row(
            row.mix if row.way == "ours" else "",
            f"{row.taken_before:,}",
            row.way,
            f"{row.jobs:g}",
            f"{row.median_ms:.2f}",
            f"{row.p95_ms:.2f}",
            f"{row.median_ms / base.median_ms:.1f}",
        )
    Console(width=None if sys.stdout.isatty() else _WIDTH).print(table)


_BUCKET: Any = """
INSERT INTO runware_jobs.bucket (account_id, lane, model, tenant, batch_id, priority, state, pause_reason)
SELECT :account_id, 'image', 'runware:' || n % 40 || '@1', 'tenant-' || n, batch.id, 5,
    CASE WHEN n <= :paused THEN 'paused' ELSE 'open' END, CASE WHEN n <= :paused THEN 'batch' END
FROM generate_series(1, :buckets + :empty) AS n
LEFT JOIN runware_jobs.batch ON n <= :paused AND n <= :buckets
"""

_FILL = (
    # The paused ones are of one batch; buckets past `buckets` stay empty.
    """
INSERT INTO runware_jobs.batch (id, tenant, name, state, pause_reason)
SELECT gen_random_uuid(), 'benchmark', 'paused', 'paused', 'user'
""",
    _BUCKET,
    """
INSERT INTO runware_jobs.job (id, kind, tenant, account_id, bucket_id, batch_id, lane, model, params, priority,
    seq, max_attempts, request_hash, run_at, created_at)
SELECT gen_random_uuid(), 'run', bucket.tenant, :account_id, bucket.id, bucket.batch_id, 'image', bucket.model,
    jsonb_build_object('taskType', 'imageInference', 'model', bucket.model, 'width', 1024, 'height', 1024,
        'positivePrompt', 'a lighthouse at dusk, number ' || n),
    5, 1, 3, sha256(CAST(CAST(n AS text) AS bytea)), now() - make_interval(secs => (:jobs - n) / 1000.0), now()
FROM generate_series(1, :jobs) AS n
JOIN (SELECT bucket.*, row_number() OVER (ORDER BY id) AS place FROM runware_jobs.bucket) AS bucket
    ON bucket.place = 1 + n % :buckets
""",
    "DROP TABLE IF EXISTS plain_job, plain_batch",
    "CREATE TABLE plain_batch AS SELECT id, state FROM runware_jobs.batch",
    "CREATE TABLE plain_job AS SELECT id, batch_id, priority, run_at, state, params FROM runware_jobs.job",
    "ALTER TABLE plain_job ADD PRIMARY KEY (id)",
    "CREATE INDEX ON plain_job (priority DESC, run_at) WHERE state = 'queued'",
    "ANALYZE",
)

_PLAIN = """
UPDATE plain_job SET state = 'submitting' WHERE id IN (
    SELECT plain_job.id FROM plain_job LEFT JOIN plain_batch ON plain_batch.id = plain_job.batch_id
    WHERE plain_job.state = 'queued' AND run_at <= now() AND COALESCE(plain_batch.state, 'open') = 'open'
    ORDER BY priority DESC, run_at LIMIT :limit FOR UPDATE OF plain_job SKIP LOCKED)
RETURNING id, params
"""


if __name__ == "__main__":
    main()
