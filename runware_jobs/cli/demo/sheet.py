"""The contact sheet: one HTML file beside the pictures, which needs nothing from anywhere else."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined

from runware_jobs.cli.terminal import seconds_between

if TYPE_CHECKING:
    from decimal import Decimal

    from .play import Outcome, Piece

_TEMPLATE: Final = Path(__file__).with_name("sheet.html.jinja")
_VIDEOS: Final = frozenset({".mp4", ".webm", ".mov"})


def write_sheet(outcome: Outcome, folder: Path, *, platform: str) -> Path:
    """Write `index.html` into the folder of the files that it shows, and return its path.

    `platform` says who made the pictures, for the line under the title.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    cards = [_card(piece) for piece in outcome.pieces if piece.file is not None]
    text = template.render(
        cards=[card for card in cards if not card["is_video"]],
        videos=[card for card in cards if card["is_video"]],
        others=[_card(piece) for piece in outcome.pieces if piece.file is None],
        total=len(outcome.pieces),
        succeeded=sum(piece.job.state == "succeeded" for piece in outcome.pieces),
        cost=_dollars(outcome.cost_usd),
        seconds=f"{outcome.seconds:.1f}",
        rate=f"{len(outcome.pieces) / max(outcome.seconds, 0.1):.1f}",
        platform=platform,
        made_at=f"{datetime.now().astimezone():%Y-%m-%d %H:%M}",
    )
    path = folder / "index.html"
    path.write_text(text, encoding="utf-8")
    return path


def _card(piece: Piece) -> dict[str, Any]:
    view, results = piece.job.to_dict(), piece.job.results
    seconds = seconds_between(view["submitted_at"], view["finished_at"])
    return {
        "number": piece.number,
        "title": piece.title,
        "kind": piece.job.kind,
        "state": piece.job.state,
        "file": quote(piece.file.name) if piece.file else None,
        "is_video": piece.file is not None and piece.file.suffix in _VIDEOS,
        "seed": results[0].get("seed") if results else None,
        "model": view["model"],
        "cost": None if piece.job.cost_usd is None else _dollars(piece.job.cost_usd),
        "seconds": None if seconds is None else f"{seconds:.1f}",
        "error": (piece.job.error or {}).get("message") or piece.trouble,
    }


def _dollars(amount: Decimal) -> str:
    return f"${amount:.4f}"
