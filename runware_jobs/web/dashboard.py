"""`/`: one page that shows how the queue stands, and the numbers it asks for.

The page is static and holds nothing of anybody; what it shows it asks for with the
key that was typed into it, which lives in the tab and nowhere else.
"""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from runware_jobs.errors import JobNotFound
from runware_jobs.store.vitals import count_jobs

from .access import Caller, Reader
from .parts import Parts, WithParts
from .strict_json import Json, StrictRoute

router = APIRouter(include_in_schema=False, route_class=StrictRoute)

_FOLDER: Final = files(__package__) / "page"
_FILES: Final = {
    name: ((_FOLDER / name).read_bytes(), media_type)
    for name, media_type in (
        ("index.html", "text/html"),
        ("dashboard.css", "text/css"),
        ("dashboard.js", "text/javascript"),
    )
}
_HEADERS: Final = {
    # Images are wherever the platform, an archive or an emulator keeps them; nothing else is fetched.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' http: https: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
_JOBS: Final = 40
_BATCHES: Final = 8


@router.get("/")
async def page(request: Request) -> Response:
    """Show the page; without a key where one is needed, 401 and the page that asks for it."""
    caller: Caller | None = request.state.caller
    status = 200 if caller is not None else 401
    return _file("index.html", status_code=status)


@router.get("/dashboard/overview")
async def overview(caller: Reader, parts: WithParts) -> Json:
    """Give everything that the page shows."""

    async def look() -> dict[str, Any]:
        return await _overview(parts, caller.tenant)

    return Json(await parts.overviews.get(caller.tenant, look))


@router.get("/dashboard/{name}")
async def file(name: str) -> Response:
    """Give the page's style or program."""
    return _file(name)


def _file(name: str, *, status_code: int = 200) -> Response:
    if name not in _FILES:
        raise JobNotFound(f"There is no page {name!r}.")
    content, media_type = _FILES[name]
    return Response(content, status_code=status_code, media_type=media_type, headers=_HEADERS)


async def _overview(parts: Parts, tenant: str | None) -> dict[str, Any]:
    async with parts.engine.connect() as connection:
        counts = await count_jobs(connection, tenant=tenant)
    batch_ids = await parts.producer.batch_page(tenant=tenant, limit=_BATCHES)
    jobs = await parts.producer.page(tenant=tenant, limit=_JOBS)
    return {
        "tenant": tenant,
        "counts": counts,
        "batches": [await parts.producer.batch(batch_id, tenant=tenant) for batch_id in batch_ids],
        "jobs": [_row(job) for job in jobs],
    }


def _row(job: Mapping[str, Any]) -> dict[str, Any]:
    """Show of a job what fits into a table's row."""
    shown = {
        name: job[name]
        for name in (
            "id", "kind", "state", "lane", "model", "progress", "cost_usd", "billing", "error", "run", "tenant",
            "custom_id", "created_at", "submitted_at", "finished_at", "eta_at",
        )
    }  # fmt: skip
    images = (
        item.get("archived_url") or item.get("imageURL") for item in job["results"] if "imageURL" in item
    )
    return shown | {
        "thumbnail": next((url for url in images if str(url).startswith(("https://", "http://"))), None),
        "results": len(job["results"]),
        "prompt": str(job["params"].get("positivePrompt", ""))[:200],
        "task_type": job["params"].get("taskType"),
    }
