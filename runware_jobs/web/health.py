"""`/healthz`, `/readyz` and `/metrics`: for load balancers and Prometheus."""

from collections.abc import Iterator, Mapping

from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.responses import Response

from runware_jobs.store.database import require_schema
from runware_jobs.store.keys import Scope
from runware_jobs.store.vitals import AccountVitals, Vitals, read_vitals

from .access import Reader
from .parts import WithParts
from .problems import RequestRefused
from .strict_json import Json

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> Json:
    """Say that this process answers."""
    return Json({"status": "ok"})


@router.get("/readyz")
async def readyz(parts: WithParts) -> Json:
    """Say that requests can be served: the database answers and its schema is current; 503 otherwise."""
    async with parts.engine.connect() as connection:
        await require_schema(connection)
    return Json({"status": "ready"})


@router.get("/metrics", response_class=Response)
async def metrics(request: Request, caller: Reader, parts: WithParts) -> Response:
    """Show how the installation stands, in Prometheus' format.

    Counts are over all tenants, so the key needs `admin`, or `read` of tenant `*`.
    """
    if caller.tenant is not None and not caller.may(Scope.ADMIN):
        raise RequestRefused(
            "Metrics count all tenants' jobs: use a key with the scope admin, or one of tenant '*'.",
            status=403,
            name="scope-missing",
            code="auth",
        )

    async def look() -> Vitals:
        async with parts.engine.connect() as connection:
            return await read_vitals(connection)

    vitals = await parts.vitals.get(None, look)
    registry = CollectorRegistry()
    registry.register(_Gauges(vitals))
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), headers={"Content-Type": media_type})


class _Gauges(Collector):
    def __init__(self, vitals: Vitals) -> None:
        self._vitals = vitals

    def collect(self) -> Iterator[Metric]:
        vitals = self._vitals
        yield _by("jobs", "Jobs by state.", "state", vitals.jobs)
        yield _by("attempts", "Runware tasks that have not ended, by state.", "state", vitals.attempts)
        in_flight = sum(vitals.attempts[state] for state in ("sending", "accepted", "unclear"))
        yield _one("attempts_in_flight", "Tasks that the platform has, or may have.", in_flight)
        yield _one("attempts_unclear", "Tasks whose send had no clear answer.", vitals.attempts["unclear"])
        yield _one("oldest_queued_seconds", "How long the oldest due job has waited.", vitals.oldest_queued_s)
        yield _one(
            "oldest_unclear_seconds",
            "How long ago the oldest task without a clear answer was sent.",
            vitals.oldest_unclear_s,
        )
        yield _one(
            "oldest_unpolled_seconds",
            "How late the latest poll was, as of the workers' heartbeats.",
            vitals.oldest_unpolled_s,
        )
        yield _one("attempts_followed", "Tasks that workers poll, as of their heartbeats.", vitals.following)
        outbox = vitals.outbox
        yield _by(
            "outbox_pending",
            "What waits to leave, by sink.",
            "sink",
            {name: one.pending for name, one in outbox.items()},
        )
        yield _by(
            "outbox_dead",
            "What was given up, by sink.",
            "sink",
            {name: one.dead for name, one in outbox.items()},
        )
        yield _one(
            "outbox_lag_seconds",
            "How long the oldest due row of the outbox has waited.",
            max((one.lag_s for one in outbox.values()), default=0.0),
        )
        yield _one("workers", "Worker processes with a lease.", vitals.workers)
        age_s = float("nan") if vitals.heartbeat_age_s is None else vitals.heartbeat_age_s
        yield _one(
            "heartbeat_age_seconds", "Age of the youngest worker's heartbeat; NaN without workers.", age_s
        )
        oldest_s = float("nan") if vitals.oldest_heartbeat_s is None else vitals.oldest_heartbeat_s
        yield _one(
            "oldest_heartbeat_age_seconds",
            "Age of the oldest worker's heartbeat; NaN without workers.",
            oldest_s,
        )
        yield _by(
            "accounts",
            "Accounts, by state.",
            "state",
            {"open": vitals.open_accounts, "paused": vitals.paused_accounts},
        )
        yield _one("spent_today_dollars", "What all accounts have spent today.", vitals.spent_today_usd)
        yield from _accounts(vitals.accounts)


def _accounts(accounts: Mapping[str, AccountVitals]) -> Iterator[Metric]:
    """Show each account against its limits, by its id; `runware-jobs account status` names them."""
    for name, help_, values in (
        (
            "account_in_flight",
            "Tasks that the account has out.",
            {id_: one.in_flight for id_, one in accounts.items()},
        ),
        (
            "account_in_flight_limit",
            "Tasks that the account may have out.",
            {id_: one.max_in_flight for id_, one in accounts.items()},
        ),
        (
            "account_held_dollars",
            "What tasks under way are held to cost.",
            {id_: one.held_usd for id_, one in accounts.items()},
        ),
        (
            "account_spent_today_dollars",
            "What the account has spent today.",
            {id_: one.spent_today_usd for id_, one in accounts.items()},
        ),
        (
            "account_daily_limit_dollars",
            "What the account may spend in a day, where that is limited.",
            {id_: one.daily_limit_usd for id_, one in accounts.items() if one.daily_limit_usd is not None},
        ),
    ):
        yield _by(name, help_, "account", values)


def _one(name: str, help_: str, value: float) -> Metric:
    return GaugeMetricFamily(f"runware_jobs_{name}", help_, value=value)


def _by(name: str, help_: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"runware_jobs_{name}", help_, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
