"""An archive: fetches an asset through the guard and keeps its bytes under a key.

A file is whole or absent: bytes are collected beside the archive, measured and
hashed, and only then appear under their key in one step. Doing it again with the
same bytes writes nothing. Deletes nothing and knows no job.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import tempfile
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final
from uuid import uuid4

import httpx

from runware_jobs.core.addresses import locate
from runware_jobs.errors import RunwareJobsError
from runware_jobs.outgoing import HostPlaces, Resolver, ask_system, open_client

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from types import TracebackType
    from typing import Self

    import fsspec

# A video of a gigabyte on a slow line; an asset that trickles longer will be tried again.
DEFAULT_TIMEOUT_S: Final = 600.0
# The longest silence within one download.
_READ_TIMEOUT_S: Final = 30.0
# Assets come from one or two hosts of the platform, so this is nearly the whole room's width.
_PER_HOST: Final = 16
# One hop to a thread per chunk: small ones would cost more in hops than in writing.
_CHUNK_BYTES: Final = 1 << 20
# Dot folders cannot be named by a key, so nothing unfinished is ever served under one.
_INCOMING: Final = ".incoming"
_MAX_KEY_CHARACTERS: Final = 512
_KEY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}(?:/[A-Za-z0-9_][A-Za-z0-9._-]{0,199})*")
_UNKNOWN_TYPE: Final = "application/octet-stream"
# RFC 6838, 4.2: what a media type may look like. It goes on into a header and a row.
_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,62}/[a-z0-9][a-z0-9!#$&^_.+-]{0,62}")


class KeyRefused(RunwareJobsError):
    """The key is no safe path inside the archive; nothing was fetched or stored."""

    code = "validation"


class FetchFailed(RunwareJobsError):
    """The asset could not be fetched whole; nothing was stored.

    `status_code` is None where no answer came. `retryable` is False where asking
    again cannot help: the URL has expired or was never there.
    """

    code = "network"
    retryable = True

    def __init__(self, message: str, *, status_code: int | None = None, retryable: bool = True) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.retryable = retryable


class TooLarge(FetchFailed):
    """The asset has more bytes than allowed; nothing was stored."""

    code = "validation"

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"The asset has more than the allowed {max_bytes} bytes.", retryable=False)


class ArchiveUnavailable(RunwareJobsError):
    """The folder or bucket did not take the file; nothing is under the key that was not before."""

    code = "serverError"
    retryable = True


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of the archive: `sha256` in hex, `content_type` as its source named it.

    Where that named none, or none that can be one, it is `application/octet-stream`.
    """

    url: str
    size_bytes: int
    sha256: str
    content_type: str


class Archive:
    """A folder or bucket of assets; made by `open_archive`, closed with `async with`."""

    def __init__(
        self,
        filesystem: fsspec.AbstractFileSystem,
        root: str,
        *,
        root_url: str,
        allow_private: bool,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        resolver: Resolver = ask_system,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._shelf = _Shelf(filesystem, root)
        self._root_url = root_url
        self._allow_private = allow_private
        self._timeout_s = timeout_s
        self._places = HostPlaces(_PER_HOST)
        self._client = open_client(
            allow_private=allow_private,
            timeout_s=min(_READ_TIMEOUT_S, timeout_s),
            resolver=resolver,
            ssl_context=ssl_context,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; a fetch that is under way fails and stores nothing."""
        await self._client.aclose()

    async def fetch_and_store(self, source_url: str, key: str, *, max_bytes: int) -> Stored:
        """Copy what is at `source_url` to `key` and say what was copied.

        The same bytes under the same key are not written again; other bytes replace
        them in one step. `key` is a relative path of plain letters, digits, `._-`.
        Waits in line for one of the host's places before the download's own limit
        begins: a caller with a deadline sets it around the call.

        Raises:
            KeyRefused: the key is not such a path.
            AddressRefused: the URL is not one that we call.
            NameNotFound: its host has no address now.
            FetchFailed: no whole answer of 200 came; `TooLarge` past `max_bytes`.
            ArchiveUnavailable: the file was fetched and could not be stored.
        """
        _check_key(key)
        location = locate(source_url, allow_private=self._allow_private)
        async with self._places.take(location.host), self._shelf.incoming() as incoming:
            try:
                async with asyncio.timeout(self._timeout_s):
                    content_type = await self._fetch(location.url, incoming, max_bytes=max_bytes)
            except TimeoutError as error:
                raise FetchFailed(
                    f"'{location.host}' did not deliver the asset in {self._timeout_s:g} s."
                ) from error
            except httpx.TransportError as error:
                raise FetchFailed(f"The connection to '{location.host}' failed or broke off.") from error
            return await self._publish(incoming, key, content_type)

    async def store(self, content: bytes, key: str, *, content_type: str) -> Stored:
        """Keep bytes that are here already, with the promises of `fetch_and_store`.

        Raises:
            KeyRefused: the key is not a safe path.
            ArchiveUnavailable: the file could not be stored.
        """
        _check_key(key)
        async with self._shelf.incoming() as incoming:
            await incoming.write(content)
            return await self._publish(incoming, key, content_type)

    async def _fetch(self, url: str, incoming: _Incoming, *, max_bytes: int) -> str:
        async with self._client.stream("GET", url) as response:
            _refuse_unless_whole(response)
            announced = response.headers.get("Content-Length", "")
            if announced.isdigit() and int(announced) > max_bytes:
                raise TooLarge(max_bytes)
            async for chunk in response.aiter_raw(_CHUNK_BYTES):
                if incoming.size_bytes + len(chunk) > max_bytes:
                    raise TooLarge(max_bytes)
                await incoming.write(chunk)
            named = response.headers.get("Content-Type", "")
        media_type = named.partition(";")[0].strip().lower()
        return media_type if _TYPE.fullmatch(media_type) else _UNKNOWN_TYPE

    async def _publish(self, incoming: _Incoming, key: str, content_type: str) -> Stored:
        await self._shelf.publish(incoming, key, content_type=content_type)
        return Stored(f"{self._root_url}/{key}", incoming.size_bytes, incoming.sha256(), content_type)


def _check_key(key: str) -> None:
    if len(key) > _MAX_KEY_CHARACTERS or not _KEY.fullmatch(key):
        raise KeyRefused(
            f"{key[:80]!r} is no safe key; use parts of letters, digits, '_', '-' and '.' joined by '/', "
            f"none beginning with '.' or '-', at most {_MAX_KEY_CHARACTERS} characters"
        )


def _refuse_unless_whole(response: httpx.Response) -> None:
    """Take nothing but 200: 206 is a part, and a redirect leads past the guard."""
    status_code = response.status_code
    host = response.url.host
    if status_code != httpx.codes.OK:
        passing = status_code in {408, 425, 429} or status_code >= httpx.codes.INTERNAL_SERVER_ERROR
        raise FetchFailed(
            f"'{host}' answered {status_code} instead of the asset.",
            status_code=status_code,
            retryable=passing,
        )
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise FetchFailed(
            f"'{host}' packed the asset although it was asked not to.",
            status_code=status_code,
            retryable=False,
        )


class _Incoming:
    """A file that is being collected, measured and hashed on the way."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.path = path
        self.size_bytes = 0
        self._file = file
        self._hash = hashlib.sha256()

    async def write(self, chunk: bytes) -> None:
        """Append a chunk, in a thread.

        Raises:
            ArchiveUnavailable: the disk does not take it.
        """
        try:
            await asyncio.to_thread(self._append, chunk)
        except OSError as error:
            raise ArchiveUnavailable(f"The incoming file could not be written: {error.strerror}.") from error

    def _append(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self._file.write(chunk)
        self.size_bytes += len(chunk)

    def settle(self) -> None:
        """Bring every byte to the disk: a rename must not outlive what it names."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def sha256(self) -> str:
        return self._hash.hexdigest()


class _Shelf:
    """The folder or bucket itself; everything here that blocks runs in threads."""

    def __init__(self, filesystem: fsspec.AbstractFileSystem, root: str) -> None:
        self._filesystem = filesystem
        self._root = root
        # A folder takes a file by renaming, so the incoming one must lie on the same
        # disk; a bucket takes it by a put, which is whole or absent by itself.
        self._renames = bool(getattr(filesystem, "local_file", False))

    @asynccontextmanager
    async def incoming(self) -> AsyncIterator[_Incoming]:
        """Collect a file outside every key; it is gone afterwards unless published."""
        try:
            file, path = await asyncio.to_thread(self._make_incoming)
        except OSError as error:
            raise ArchiveUnavailable(f"The archive cannot be written to: {error.strerror}.") from error
        try:
            yield _Incoming(file, path)
        finally:
            with suppress(OSError):  # a full disk, again: it was reported by the write
                file.close()
            path.unlink(missing_ok=True)

    def _make_incoming(self) -> tuple[IO[bytes], Path]:
        # What will be renamed is readable for whom the umask says, like any file of
        # the archive; what lies in the system's shared folder is nobody else's.
        if self._renames:
            folder, mode = Path(self._root, _INCOMING), 0o666
            folder.mkdir(parents=True, exist_ok=True)
        else:
            folder, mode = Path(tempfile.gettempdir()), 0o600
        path = folder / f"runware-jobs-{uuid4().hex}"
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
        return os.fdopen(descriptor, "wb"), path

    async def publish(self, incoming: _Incoming, key: str, *, content_type: str) -> None:
        """Make the collected file appear under its key, unless the same bytes are there."""
        try:
            await asyncio.to_thread(self._publish, incoming, f"{self._root}/{key}", content_type)
        except Exception as error:
            # Broad, because stores of objects let the errors of their own libraries through.
            raise ArchiveUnavailable(f"The archive did not take '{key}': {type(error).__name__}.") from error

    def _publish(self, incoming: _Incoming, path: str, content_type: str) -> None:
        incoming.settle()
        if self._holds(incoming, path):
            return
        if not self._renames:
            # The option's name is S3's: without it a browser would save what it could show.
            self._filesystem.put_file(str(incoming.path), path, ContentType=content_type)
            return
        folder = Path(path).parent
        folder.mkdir(parents=True, exist_ok=True)
        incoming.path.replace(path)
        _settle_folder(folder)

    def _holds(self, incoming: _Incoming, path: str) -> bool:
        """Whether these very bytes are there; reads them again only where the size agrees."""
        try:
            if self._filesystem.info(path)["size"] != incoming.size_bytes:
                return False
            with self._filesystem.open(path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == incoming.sha256()
        except FileNotFoundError:
            return False


def _settle_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
