"""Save the files of results: through the address guard, a few at a time, whole or not at all."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpx

from runware_jobs.core.addresses import AddressRefused
from runware_jobs.outgoing import NameNotFound, open_client

from .terminal import err

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from runware_jobs.jobs import AsyncBatch, AsyncJobs

_TIMEOUT_S: Final = 30.0
_TRIES: Final = 3
_SUFFIX_MAX: Final = 6
_OK: Final = 200
_MEDIA: Final = ("imageURL", "videoURL", "audioURL", "maskImageURL", "guideImageURL", "mediaURL", "modelURL")


class FileFailed(Exception):
    """A file could not be saved; the message says why. Nothing is at its place."""


@dataclass(slots=True)
class Outcome:
    """What a download did; `failed` by URL, with the reason."""

    saved: list[Path] = field(default_factory=list)
    present: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def seen(self) -> int:
        """How many files are done with, well or not."""
        return len(self.saved) + self.present + len(self.failed)

    def to_dict(self) -> dict[str, Any]:
        """Give what `--json` shows."""
        return {
            "saved": [str(path) for path in self.saved],
            "present": self.present,
            "failed": [{"url": url, "reason": reason} for url, reason in self.failed.items()],
        }

    def in_words(self, folder: Path) -> str:
        """Tell a person."""
        text = f"{len(self.saved)} files saved in {folder}"
        if self.present:
            text += f", {self.present} were there already"
        if self.failed:
            reason = next(iter(self.failed.values()))
            text += f"; [red]{len(self.failed)} failed[/red] (the first: {reason})"
        return text + "."


class Downloads:
    """Saves files by URL; `async with` closes its connections.

    `emulators` are the base URLs of accounts: what one of them on this machine serves
    is fetched, from that port and no other. Every other address must be public.
    """

    def __init__(self, *, emulators: Iterable[str] = (), at_once: int = 8) -> None:
        self._local_places = {urlsplit(url).netloc for url in emulators if is_loopback(url)}
        self._public = open_client(allow_private=False, timeout_s=_TIMEOUT_S)
        self._local = open_client(allow_private=True, timeout_s=_TIMEOUT_S)
        self._places = asyncio.Semaphore(at_once)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._public.aclose()
        await self._local.aclose()

    async def save(self, url: str, path: Path) -> None:
        """Save what lies at `url` as `path`; connection errors are tried again.

        Raises:
            FileFailed: the address is refused, gone, or does not answer.
        """
        async with self._places:
            for number in range(1, _TRIES + 1):
                try:
                    return await self._fetch(url, path)
                except (AddressRefused, NameNotFound) as error:
                    raise FileFailed(error.message) from error
                except httpx.TransportError as error:
                    if number == _TRIES:
                        raise FileFailed(f"no answer ({type(error).__name__})") from error
                    await asyncio.sleep(number)
        return None

    async def _fetch(self, url: str, path: Path) -> None:
        client = self._local if urlsplit(url).netloc in self._local_places else self._public
        unfinished = path.with_name(f".{path.name}.part")
        try:
            async with client.stream("GET", url) as answer:
                if answer.status_code != _OK:
                    raise FileFailed(f"the answer was HTTP {answer.status_code}; has the URL expired?")
                with unfinished.open("wb") as file:
                    async for chunk in answer.aiter_bytes(1 << 16):
                        file.write(chunk)
            unfinished.replace(path)
        except OSError as error:
            raise FileFailed(f"{path} cannot be written: {error.strerror}") from error
        finally:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)


async def download_batch(
    jobs: AsyncJobs, batch: AsyncBatch, folder: Path, *, emulators: Iterable[str], at_once: int
) -> Outcome:
    """Save the files of every ended job of a batch under `folder`, with a bar on stderr.

    A file that fails does not stop the others: it is in the outcome, with its reason.
    """
    from rich.progress import Progress  # noqa: PLC0415  only where something is shown

    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    outcome, waiting = Outcome(), set[asyncio.Task[None]]()
    console = err()
    async with Downloads(emulators=emulators, at_once=at_once) as downloads:
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            bar = progress.add_task("Saving", total=batch.finished)
            async for url, path in _files(jobs, batch, folder):
                if path.exists():
                    outcome.present += 1
                    continue
                waiting.add(asyncio.create_task(_save(downloads, url, path, outcome)))
                while len(waiting) >= 2 * at_once:
                    _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                    progress.update(bar, completed=outcome.seen)
            while waiting:
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                progress.update(bar, completed=outcome.seen)
    return outcome


async def _save(downloads: Downloads, url: str, path: Path, outcome: Outcome) -> None:
    try:
        await downloads.save(url, path)
    except FileFailed as error:
        outcome.failed[url] = str(error)
    else:
        outcome.saved.append(path)


async def _files(jobs: AsyncJobs, batch: AsyncBatch, folder: Path) -> AsyncIterator[tuple[str, Path]]:
    from uuid import UUID  # noqa: PLC0415  beside its only use

    number = 0
    async for job in jobs.producer.ended_jobs_of(UUID(batch.id), states=["succeeded", "failed", "canceled"]):
        number += 1
        name = safe_name(str(job["custom_id"] or job["params"].get("positivePrompt") or job["id"]))
        for place, (url, suffix) in enumerate(urls_of(job["results"])):
            again = f"-{place + 1}" if place else ""
            yield url, folder / f"{number:05}-{name}{again}{suffix}"


def urls_of(results: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Give each file's URL and its suffix, in the order of the results."""
    for item in results:
        yield from ((url, suffix_of(url)) for url in _urls(item))


def _urls(item: Mapping[str, Any]) -> Iterator[str]:
    archived = item.get("archived_url")
    if isinstance(archived, str) and archived.startswith("http"):
        yield archived
        return
    for name in _MEDIA:
        if isinstance(item.get(name), str):
            yield item[name]
    outputs = item.get("outputs")
    for file in outputs.get("files", ()) if isinstance(outputs, dict) else ():
        if isinstance(file, dict) and isinstance(file.get("url"), str):
            yield file["url"]


def suffix_of(url: str) -> str:
    """Give the suffix of the file that a URL names, with its dot; empty where there is none."""
    suffix = PurePosixPath(urlsplit(url).path).suffix.lower()
    return suffix if suffix[1:].isalnum() and len(suffix) <= _SUFFIX_MAX else ""


def safe_name(text: str, length: int = 48) -> str:
    """Make a file name of any text: lower-case letters, digits and dashes."""
    words = "".join(
        letter if letter.isascii() and letter.isalnum() else " " for letter in text.lower()
    ).split()
    name = ""
    for word in words:
        if name and len(name) + 1 + len(word) > length:
            break
        name = f"{name}-{word}" if name else word[:length]
    return name or "untitled"


def is_loopback(url: str) -> bool:
    """Tell whether a URL points to this machine: then what it serves may be fetched from here."""
    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"
