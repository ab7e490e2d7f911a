"""accountManagement: the organisation, its balance, and what it used, summed up from the ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import partial
from statistics import fmean, quantiles
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .errors import Refusal
from .prices import MICRO_PER_USD, micro_usd
from .rules.schema_rules import invalid, missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .accounts import Account
    from .ledger import Entry
    from .messages import Caller
    from .protocol import Platform

_LONGEST_SPAN_DAYS = 30
# Where each grouping puts its rows, as the platform names them.
_GROUPS = {"date": "timeseries", "model": "model", "apiKey": "apiKey"}
_OPERATIONS = ("getDetails", "getUsageActivity", "getUsagePerformance", "getUsageErrors")


@dataclass(slots=True)
class _Sum:
    """What happened in one group: requests, money, errors, and the seconds each finished task took."""

    count: int = 0
    spent_micro_usd: int = 0
    client_errors: int = 0
    server_errors: int = 0
    seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Window:
    """The days asked for, both included, in the caller's time zone."""

    start: date
    end: date
    zone: tzinfo

    def day_of(self, at: float) -> date | None:
        """The day of a moment, or None outside the window."""
        day = datetime.fromtimestamp(at, self.zone).date()
        return day if self.start <= day <= self.end else None


def account_management(
    platform: Platform, request: Mapping[str, Any], caller: Caller
) -> dict[str, Any] | Refusal:
    """The organisation behind the key with its balance, or one of the three views of its use."""
    operation = request.get("operation")
    if operation is None:
        return missing("operation")
    if operation not in _OPERATIONS:
        return invalid("operation", f"Supported values are: {', '.join(_OPERATIONS)}.")
    platform.schedule.run_due()
    answer = {
        "taskType": request["taskType"],
        "taskUUID": request["taskUUID"],
        "operation": operation,
    }
    if operation == "getDetails":
        return {**answer, **_details(platform, caller)}
    window = _window(request, platform.clock.now_s())
    if isinstance(window, Refusal):
        return window
    return {
        **answer,
        "startDate": window.start.isoformat(),
        "endDate": window.end.isoformat(),
        "usage": _usage(platform, request, caller.account, window, str(operation)),
    }


def _details(platform: Platform, caller: Caller) -> dict[str, Any]:
    account = caller.account
    today = datetime.fromtimestamp(platform.clock.now_s(), UTC).date()
    spans = {"today": 1, "last7Days": 7, "last30Days": 30, "total": None}
    return {
        "organizationName": account.name,
        "organizationUUID": account.organization_uuid,
        "balance": {
            "amount": account.balance_micro_usd / MICRO_PER_USD,
            "freeBalance": 0,
            "currency": "USD",
        },
        "team": [{"name": "Ada", "email": "ada@studio.example", "roles": ["owner"]}],
        "apiKeys": _keys(platform, caller),
        "usage": {
            name: _spent(
                platform,
                account,
                _Window(date.min if days is None else today - timedelta(days - 1), date.max, UTC),
            )
            for name, days in spans.items()
        },
    }


def _spent(platform: Platform, account: Account, window: _Window) -> dict[str, Any]:
    total = _Sum()
    for entry in _entries_of(platform, account):
        for _, change in _happenings(entry, window):
            change(total)
    return {"credits": total.spent_micro_usd / MICRO_PER_USD, "requests": total.count}


def _keys(platform: Platform, caller: Caller) -> list[dict[str, Any]]:
    """The organisation's keys that were used, masked; the one that asks comes first."""
    uses: dict[str, list[float]] = {caller.key_id: []}
    for entry in _entries_of(platform, caller.account):
        uses.setdefault(entry.key_id, []).extend(at for at, event, _ in entry.history if event == "accepted")
    return [
        {
            "apiKey": f"{key_id[:4]}****",
            "uuid": key_id,
            "name": f"key {number}",
            "enabled": True,
            "createdAt": "2026-01-01T00:00:00Z",
            **({"lastUsedAt": _iso(max(moments))} if moments else {}),
            "requests": len(moments),
        }
        for number, (key_id, moments) in enumerate(uses.items(), start=1)
    ]


def _window(request: Mapping[str, Any], now: float) -> _Window | Refusal:
    """The window asked for; the last 30 days where nothing is said."""
    try:
        zone = ZoneInfo(str(request.get("timezone", "UTC")))
    except (ZoneInfoNotFoundError, ValueError):
        return invalid("timezone", "It must be the name of a time zone such as 'Europe/Berlin'.")
    days: dict[str, date] = {}
    end_default = datetime.fromtimestamp(now, zone).date()
    for name in ("endDate", "startDate"):
        text = request.get(name)
        try:
            days[name] = date.fromisoformat(str(text)[:10]) if text is not None else end_default
        except ValueError:
            return invalid(name, "It must be a date such as '2026-11-30'.")
        if text is None and name == "startDate":
            days[name] = days["endDate"] - timedelta(_LONGEST_SPAN_DAYS - 1)
    if (
        days["startDate"] > days["endDate"]
        or (days["endDate"] - days["startDate"]).days >= _LONGEST_SPAN_DAYS
    ):
        return Refusal(
            "invalidDateRange",
            f"The range must not be empty and must span at most {_LONGEST_SPAN_DAYS} days.",
            ["startDate", "endDate"],
        )
    return _Window(days["startDate"], days["endDate"], zone)


def _usage(
    platform: Platform, request: Mapping[str, Any], account: Account, window: _Window, operation: str
) -> dict[str, Any]:
    """The groups asked for, each with its rows and their sum."""
    show = _SHOWN[operation]
    entries = [entry for entry in _entries_of(platform, account) if _is_asked(entry, request)]
    usage: dict[str, Any] = {}
    for group in request.get("groupBy") or ["date"]:
        rows: dict[str, _Sum] = {}
        total = _Sum()
        for entry in entries:
            for day, change in _happenings(entry, window):
                key = {"date": day.isoformat(), "model": entry.model, "apiKey": entry.key_id}[group]
                change(rows.setdefault(key, _Sum()))
                change(total)
        usage[_GROUPS[group]] = {
            "data": [{**_named(platform, group, key), **show(row)} for key, row in sorted(rows.items())],
            "meta": {"totals": show(total)},
        }
    return usage


def _happenings(entry: Entry, window: _Window) -> Iterator[tuple[date, Callable[[_Sum], None]]]:
    """What happened to a task within the window: the day, and what it adds to a sum."""
    for at, event, detail in entry.history:
        day = window.day_of(at)
        if day is not None:
            yield day, partial(_add, event=event, detail=detail)
    if entry.finished_at is not None and entry.accepted_at is not None:
        day = window.day_of(entry.finished_at)
        if day is not None:
            yield day, partial(_add, event="finished", seconds=entry.finished_at - entry.accepted_at)


def _add(row: _Sum, *, event: str, detail: str = "", seconds: float = 0.0) -> None:
    match event:
        case "accepted":
            row.count += 1
        case "billed":
            row.spent_micro_usd += micro_usd(detail)
        case "finished":
            row.seconds.append(seconds)
        case "refused" | "duplicate":
            row.client_errors += 1
        case "failed":
            row.server_errors += 1


def _activity(row: _Sum) -> dict[str, Any]:
    return {"count": row.count, "spend": row.spent_micro_usd / MICRO_PER_USD}


def _performance(row: _Sum) -> dict[str, Any]:
    """Seconds from acceptance to the last result."""
    if not row.seconds:
        return {"count": row.count, "avgInferenceTime": 0, "p90InferenceTime": 0, "p99InferenceTime": 0}
    # One value has no spread; two copies of it do.
    cuts = quantiles(row.seconds * 2 if len(row.seconds) == 1 else row.seconds, n=100, method="inclusive")
    return {
        "count": row.count,
        "avgInferenceTime": round(fmean(row.seconds), 3),
        "p90InferenceTime": round(cuts[89], 3),
        "p99InferenceTime": round(cuts[98], 3),
    }


def _errors(row: _Sum) -> dict[str, Any]:
    return {"count": row.count, "clientErrors": row.client_errors, "serverErrors": row.server_errors}


_SHOWN: Mapping[str, Callable[[_Sum], dict[str, Any]]] = {
    "getUsageActivity": _activity,
    "getUsagePerformance": _performance,
    "getUsageErrors": _errors,
}


def _entries_of(platform: Platform, account: Account) -> Iterator[Entry]:
    return (entry for entry in platform.ledger.entries.values() if entry.account == account.organization_uuid)


def _is_asked(entry: Entry, request: Mapping[str, Any]) -> bool:
    models, keys = request.get("models"), request.get("apiKeys")
    return (not models or entry.model in models) and (not keys or entry.key_id in keys)


def _named(platform: Platform, group: str, key: str) -> dict[str, Any]:
    if group != "model":
        return {group: key}
    model = platform.catalogue.find(key)
    return {"model": key, "modelName": model.name if model is not None else key}


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
