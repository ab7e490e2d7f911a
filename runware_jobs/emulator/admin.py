"""The emulator's own routes under /_emulator: ledger, tasks, state, configuration, faults and the page."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from .config import ConfigError, changed_switches, latencies_from_json
from .faults import FaultRuleError
from .prices import usd
from .rest import json_response
from .results import asset_url
from .tasks import NEVER, Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from .protocol import Platform

_PAGE = Path(__file__).parent / "page.html"
_NEWEST_TASKS = 200


async def get_page(_request: Request) -> Response:
    return HTMLResponse(_PAGE.read_text(encoding="utf-8"))


async def get_ledger(request: Request) -> Response:
    """The ledger; every finished item is booked first, so the answer is exact for this moment."""
    platform = _platform(request)
    platform.schedule.run_due()
    return json_response(platform.ledger.to_json())


async def get_tasks(request: Request) -> Response:
    """The newest tasks first; `?limit=` changes how many."""
    platform = _platform(request)
    platform.schedule.run_due()
    limit = request.query_params.get("limit", "")
    count = int(limit) if limit.isdigit() else _NEWEST_TASKS
    newest = islice(reversed(platform.tasks.values()), count)
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
        Route("/ledger", get_ledger, methods=["GET"]),
        Route("/ledger", reset_all, methods=["DELETE"]),
        Route("/tasks", get_tasks),
        Route("/state", get_state),
        Route("/reset", reset_all, methods=["POST", "DELETE"]),
        Route("/config", get_config, methods=["GET"]),
        Route("/config", change_config, methods=["POST"]),
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
    shows_media = task.kind.shape == "media" and task.output_type == "URL"
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
        "latencies": {name: [one.min_s, one.max_s] for name, one in platform.latencies.items()},
        "switches": platform.switches,
    }


def _platform(request: Request) -> Platform:
    platform: Platform = request.app.state.platform
    return platform


async def _json(request: Request) -> Any:
    try:
        return orjson.loads(await request.body())
    except orjson.JSONDecodeError:
        return None


def _bad(message: str) -> Response:
    content: Mapping[str, str] = {"error": message}
    return json_response(content, 400)
