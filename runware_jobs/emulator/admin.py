"""The emulator's own routes under /_emulator: ledger, tasks, state, configuration, faults and the page."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from .faults.actions import READY_MADE, FaultRuleError, action_table
from .latencies import latencies_from_json
from .prices import usd
from .rest import json_response
from .results import asset_url
from .switches import ConfigError, changed_switches, switch_table
from .tasks import NEVER, Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from .protocol import Platform

_HERE = Path(__file__).parent
_NEWEST_TASKS = 200
_NEWEST_EVENTS = 50
_MOST_DIGITS = 9


async def get_page(_request: Request) -> Response:
    return FileResponse(_HERE / "page.html")


async def get_style(_request: Request) -> Response:
    return FileResponse(_HERE / "page.css")


async def get_script(_request: Request) -> Response:
    return FileResponse(_HERE / "page.js")


async def get_ledger(request: Request) -> Response:
    """The ledger; every finished item is booked first, so the answer is exact for this moment."""
    platform = _platform(request)
    platform.schedule.run_due()
    return json_response(platform.ledger.to_json())


async def get_ledger_task(request: Request) -> Response:
    """One task of the ledger with everything that happened to it; 404 for a UUID that never arrived."""
    platform = _platform(request)
    platform.schedule.run_due()
    found = platform.ledger.task_json(request.path_params["task_uuid"])
    return _bad("no task with this UUID ever arrived", 404) if found is None else json_response(found)


async def export_ledger(request: Request) -> Response:
    """The whole ledger as JSON lines: the sums, the latest requests, each task with its history."""
    platform = _platform(request)
    platform.schedule.run_due()
    lines = b"".join(
        orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE) for record in platform.ledger.records()
    )
    return Response(lines, media_type="application/x-ndjson")


async def get_recent(request: Request) -> Response:
    """The latest requests and the latest happenings of the ledger, newest first; `?limit=` of each."""
    platform = _platform(request)
    platform.schedule.run_due()
    limit = _limit(request, _NEWEST_EVENTS)
    # What happened lately happened to tasks that came lately, or that run: the newest will do for a look.
    newest = islice(reversed(platform.ledger.entries.items()), _NEWEST_TASKS)
    events = [
        {"taskUUID": task_uuid, **event} for task_uuid, entry in newest for event in entry.history_json()
    ]
    events.sort(key=lambda event: event["at"], reverse=True)
    requests = list(islice(reversed(platform.ledger.latest), limit))
    return json_response({"events": events[:limit], "requests": requests})


async def get_tasks(request: Request) -> Response:
    """The newest tasks first; `?limit=` changes how many."""
    platform = _platform(request)
    platform.schedule.run_due()
    newest = islice(reversed(platform.tasks.values()), _limit(request, _NEWEST_TASKS))
    return json_response({"total": len(platform.tasks), "tasks": [_shown(platform, task) for task in newest]})


async def get_state(request: Request) -> Response:
    """Configuration, totals and balances in one small document."""
    platform = _platform(request)
    platform.schedule.run_due()
    states: dict[str, int] = {}
    for entry in platform.ledger.entries.values():
        states[entry.state or "refused"] = states.get(entry.state or "refused", 0) + 1
    return json_response(
        {
            "speed": platform.config.speed,
            "seed": platform.config.seed,
            "now": platform.clock.now_s(),
            "tasks": {"total": len(platform.tasks), "by_state": states},
            "requests": platform.ledger.requests_json(),
            "totals": platform.ledger.totals_json(),
            "accounts": [
                {
                    "organizationUUID": account.organization_uuid,
                    "organizationName": account.name,
                    "balance_usd": usd(account.balance_micro_usd),
                    "held_usd": usd(account.held_micro_usd),
                    "billed_usd": usd(account.billed_micro_usd),
                }
                for account in platform.accounts.by_uuid.values()
            ],
            **_settings(platform),
            "faults": [rule.to_json() for rule in platform.faults.rules],
        }
    )


async def reset_all(request: Request) -> Response:
    """Forget tasks, uploads, money and the ledger. Faults, latencies and switches stay."""
    _platform(request).reset()
    state_file = request.app.state.state_file
    if state_file is not None:
        state_file.clear()
    return json_response({"reset": True})


async def get_config(request: Request) -> Response:
    return json_response(_settings(_platform(request)))


async def change_config(request: Request) -> Response:
    """Change `latencies` and `switches` from now on; running tasks keep the times they were given."""
    platform = _platform(request)
    values = await _json(request)
    if not isinstance(values, dict) or set(values) - {"latencies", "switches", "balance_usd"}:
        return _bad('send an object with "latencies", "switches" or "balance_usd"')
    try:
        latencies = latencies_from_json(values.get("latencies", {}))
        platform.switches = changed_switches(platform.switches, values.get("switches", {}))
    except ConfigError as error:
        return _bad(str(error))
    platform.latencies.update(latencies)
    if "balance_usd" in values:
        balance = values["balance_usd"]
        if isinstance(balance, bool) or not isinstance(balance, int | float) or balance < 0:
            return _bad("balance_usd: must be a number of dollars, 0 or more; it replaces every balance")
        platform.accounts.opening_micro_usd = round(balance * 1_000_000)
        for account in platform.accounts.by_uuid.values():
            account.balance_micro_usd = platform.accounts.opening_micro_usd
    return json_response(_settings(platform))


async def get_switches(request: Request) -> Response:
    """Every switch: what it chooses, where that is left open, its default and its present value."""
    now = _platform(request).switches
    return json_response([{**row, "value": getattr(now, row["name"])} for row in switch_table()])


async def get_fault_actions(_request: Request) -> Response:
    """What can go wrong, with its fields and their defaults, and the ready-made rules by name."""
    return json_response({"actions": action_table(), "ready_made": dict(READY_MADE)})


async def get_faults(request: Request) -> Response:
    return json_response([rule.to_json() for rule in _platform(request).faults.rules])


async def add_faults(request: Request) -> Response:
    """Add one rule or a list of rules."""
    platform = _platform(request)
    try:
        rules = platform.faults.add(await _json(request), platform.clock.now_s())
    except FaultRuleError as error:
        return _bad(str(error))
    return json_response([rule.to_json() for rule in rules], 201)


async def remove_faults(request: Request) -> Response:
    """Remove all rules, or the one of the path."""
    removed = _platform(request).faults.remove(request.path_params.get("rule_id"))
    return json_response({"removed": removed})


def admin_routes() -> list[Route]:
    """The routes, to be mounted at /_emulator."""
    return [
        Route("/", get_page),
        Route("/page.css", get_style),
        Route("/page.js", get_script),
        Route("/ledger", get_ledger, methods=["GET"]),
        Route("/ledger", reset_all, methods=["DELETE"]),
        Route("/ledger/{task_uuid}", get_ledger_task, methods=["GET"]),
        Route("/ledger.jsonl", export_ledger),
        Route("/recent", get_recent),
        Route("/tasks", get_tasks),
        Route("/state", get_state),
        Route("/reset", reset_all, methods=["POST", "DELETE"]),
        Route("/config", get_config, methods=["GET"]),
        Route("/config", change_config, methods=["POST"]),
        Route("/switches", get_switches),
        Route("/actions", get_fault_actions),
        Route("/faults", get_faults, methods=["GET"]),
        Route("/faults", add_faults, methods=["POST"]),
        Route("/faults", remove_faults, methods=["DELETE"]),
        Route("/faults/{rule_id}", remove_faults, methods=["DELETE"]),
    ]


def _shown(platform: Platform, task: Task) -> dict[str, Any]:
    now = platform.clock.now_s()
    finished = 0 if task.lost else task.finished(now)
    entry = platform.ledger.entries[task.uuid]
    parameters = task.parameters()
    shows_media = task.kind.shape == "media" and "URL" in task.output_types
    return {
        "taskUUID": task.uuid,
        "taskType": task.task_type,
        "model": task.model,
        "prompt": str(parameters.get("positivePrompt", ""))[:200],
        "state": entry.state,
        "progress": 100 if entry.state in {"success", "error"} else task.progress(-1, now),
        "accepted_at": task.accepted_at,
        "ends_at": None if task.ends_at == NEVER else task.ends_at,
        "billed_usd": usd(entry.billed_micro_usd),
        "media": task.kind.media,
        "urls": [
            # Relative, so that the page works behind any address.
            asset_url(task, index).removeprefix(task.base_url)
            for index in range(finished)
            if shows_media and not (task.failure and task.failure.hits(index))
        ],
    }


def _settings(platform: Platform) -> dict[str, Any]:
    return {
        "latencies": {name: one.to_json() for name, one in platform.latencies.items()},
        "switches": platform.switches,
    }


def _platform(request: Request) -> Platform:
    platform: Platform = request.app.state.platform
    return platform


def _limit(request: Request, default: int) -> int:
    asked = request.query_params.get("limit", "")
    return int(asked) if asked.isdecimal() and len(asked) <= _MOST_DIGITS else default


async def _json(request: Request) -> Any:
    try:
        return orjson.loads(await request.body())
    except orjson.JSONDecodeError:
        return None


def _bad(message: str, status: int = 400) -> Response:
    content: Mapping[str, str] = {"error": message}
    return json_response(content, status)
