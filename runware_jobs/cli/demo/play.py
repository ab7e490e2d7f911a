"""The play: what is enqueued, followed to its end, and saved as it arrives.

Uses the queue as any producer would: nothing here is known to the worker.
"""

from __future__ import annotations

import asyncio
import io
import time
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from runware_jobs.cli.download import Downloads, FileFailed, safe_name, urls_of
from runware_jobs.cli.watching import expected_percent

from .display import Display, Look, Single

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runware_jobs.handles import AsyncJob
    from runware_jobs.jobs import AsyncBatch, AsyncJobs

IMAGE_MODEL: Final = "runware:400@1"
IMAGE_SIZE: Final = {"width": 1024, "height": 768}
_VIDEO: Final = {
    "model": "google:3@3",
    "positivePrompt": "waves around a lighthouse at dusk, the beam turning",
    "width": 1280,
    "height": 720,
    "duration": 4,
}
_TRAINING: Final = {
    "model": "runware:z-image@style-lora-training",
    # Reserved for examples (RFC 2606): the emulator fetches nothing.
    "inputs": {"dataset": "https://example.com/watercolours.zip"},
    "importModel": {"air": "demo:watercolour@1", "name": "Watercolour"},
    "trainingSteps": 500,
}
_TITLES: Final = {
    "video": str(_VIDEO["positivePrompt"]),
    "upload": "a colour swatch, uploaded",
    "training": "a watercolour style, trained",
}
_LOOK_EVERY_S: Final = 0.25
_AT_ONCE: Final = 4
_UPLOAD_SIZE: Final = (256, 256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What is played: a picture for each prompt, and what else; `budget_usd` None: no limit."""

    prompts: Sequence[str]
    has_video: bool
    has_training: bool
    has_upload: bool
    budget_usd: Decimal | None
    within_s: float


@dataclass(slots=True)
class Piece:
    """One job of the play, and the file that came of it (None: none was saved)."""

    title: str
    number: int
    job: AsyncJob
    file: Path | None = None
    trouble: str | None = None


@dataclass(slots=True)
class Outcome:
    """How the play ended; `seconds` from the first enqueue to the last end."""

    batch: AsyncBatch
    pieces: list[Piece]
    seconds: float
    cost_usd: Decimal
    has_ended: bool
    troubles: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """True when each job succeeded and each file is there."""
        succeeded = all(piece.job.state == "succeeded" for piece in self.pieces)
        return self.has_ended and succeeded and not self.troubles


class Play:
    """One run of the program; `run` once."""

    def __init__(self, jobs: AsyncJobs, program: Program, folder: Path, downloads: Downloads) -> None:
        self._jobs = jobs
        self._program = program
        self._folder = folder
        self._downloads = downloads
        self._pieces: dict[str, Piece] = {}
        self._saving: dict[str, asyncio.Task[None]] = {}
        self._seen_finished = -1

    async def run(self, display: Display) -> Outcome:
        """Enqueue everything, follow it, save files as they arrive; returns when all is over."""
        started_at = time.monotonic()
        batch = await self._enqueue_pictures()
        singles = await self._enqueue_singles()
        has_ended = False
        while time.monotonic() - started_at < self._program.within_s:
            await batch.refresh()
            for job in singles.values():
                if not job.is_final:
                    await job.refresh()
            await self._collect(batch, singles)
            display.show(self._look(batch, singles, time.monotonic() - started_at))
            has_ended = batch.finished == batch.total and all(job.is_final for job in singles.values())
            if has_ended or _has_stopped(batch):
                break
            await asyncio.sleep(_LOOK_EVERY_S)
        seconds = time.monotonic() - started_at
        await self._finish_saving()
        display.show(self._look(batch, singles, seconds))
        if not has_ended:
            await self._add_the_rest(batch, singles)
        pieces = sorted(self._pieces.values(), key=lambda piece: piece.number)
        return Outcome(
            batch=batch,
            pieces=pieces,
            seconds=seconds,
            cost_usd=sum((piece.job.cost_usd or Decimal(0) for piece in pieces), Decimal(0)),
            has_ended=has_ended,
            troubles=[piece.trouble for piece in pieces if piece.trouble],
        )

    async def _enqueue_pictures(self) -> AsyncBatch:
        return await self._jobs.enqueue_many(
            (
                {"positivePrompt": prompt, "seed": number, "custom_id": str(number)}
                for number, prompt in enumerate(self._program.prompts, 1)
            ),
            name="demo",
            defaults={"model": IMAGE_MODEL, **IMAGE_SIZE},
            budget_usd=self._program.budget_usd,
            tags=["demo"],
        )

    async def _enqueue_singles(self) -> dict[str, AsyncJob]:
        program, jobs = self._program, self._jobs
        singles: dict[str, AsyncJob] = {}
        if program.has_video:
            singles["video"] = await jobs.enqueue(_VIDEO, tags=["demo"])
        if program.has_upload:
            singles["upload"] = await jobs.upload(draw_swatch(), tags=["demo"])
        if program.has_training:
            singles["training"] = await jobs.train(_TRAINING, tags=["demo"])
        return singles

    async def _collect(self, batch: AsyncBatch, singles: dict[str, AsyncJob]) -> None:
        """Take note of what has ended since the last look, and start saving it."""
        if batch.finished != self._seen_finished:
            self._seen_finished = batch.finished
            states = ["succeeded", "failed", "canceled"]
            for job in await self._jobs.list(batch=batch.id, state=states, limit=500):
                self._take(job, kind="")
        for kind, job in singles.items():
            if job.is_final:
                self._take(job, kind=kind)

    def _take(self, job: AsyncJob, *, kind: str) -> None:
        if job.id in self._pieces:
            return
        view = job.to_dict()
        number = int(view["custom_id"] or len(self._program.prompts) + 1 + list(_TITLES).index(kind))
        piece = Piece(_TITLES[kind] if kind else str(view["params"]["positivePrompt"]), number, job)
        self._pieces[job.id] = piece
        if job.state == "succeeded" and job.kind == "run":
            self._saving[job.id] = asyncio.create_task(self._save(piece))

    async def _save(self, piece: Piece) -> None:
        for url, suffix in urls_of(piece.job.results):
            file = self._folder / f"{piece.number:02}-{safe_name(piece.title)}{suffix}"
            try:
                await self._downloads.save(url, file)
            except FileFailed as error:
                piece.trouble = f"{file.name}: {error}"
            else:
                piece.file = file

    async def _finish_saving(self) -> None:
        if self._saving:
            await asyncio.wait(self._saving.values())

    async def _add_the_rest(self, batch: AsyncBatch, singles: dict[str, AsyncJob]) -> None:
        """Take note of what has not ended, too: it is shown as it stands."""
        for job in await self._jobs.list(batch=batch.id, limit=500):
            self._take(job, kind="")
        for kind, job in singles.items():
            self._take(job, kind=kind)

    def _look(self, batch: AsyncBatch, singles: dict[str, AsyncJob], seconds: float) -> Look:
        ended = [job for job in singles.values() if job.is_final]
        costs = [job.cost_usd or Decimal(0) for job in ended]
        return Look(
            seconds=seconds,
            finished=batch.finished,
            total=batch.total,
            failed=batch.counts.get("failed", 0) + sum(job.state == "failed" for job in ended),
            singles={
                kind: Single(job.state, told=job.progress, expected=expected_percent(job))
                for kind, job in singles.items()
            },
            ended=batch.finished + len(ended),
            saved=sum(piece.file is not None for piece in self._pieces.values()),
            cost_usd=(batch.cost_usd or Decimal(0)) + sum(costs, Decimal(0)),
        )


def _has_stopped(batch: AsyncBatch) -> bool:
    """Tell whether the batch is paused, by its budget or the account's, with nothing in flight."""
    in_flight = batch.counts.get("submitting", 0) + batch.counts.get("running", 0)
    return batch.state == "paused" and not in_flight


def draw_swatch() -> bytes:
    """Draw the small picture that is uploaded: a PNG of a gradient."""
    from PIL import Image  # noqa: PLC0415  only the demo draws

    across = Image.linear_gradient("L").resize(_UPLOAD_SIZE)
    channels = (across.rotate(90), Image.radial_gradient("L").resize(_UPLOAD_SIZE), across)
    buffer = io.BytesIO()
    Image.merge("RGB", channels).save(buffer, "PNG")
    return buffer.getvalue()


def open_downloads(platform_url: str) -> Downloads:
    """Open the way to the files; a few at a time, since an emulator draws them on this machine."""
    return Downloads(emulators=[platform_url], at_once=_AT_ONCE)
