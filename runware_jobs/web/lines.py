"""A batch's jobs as they come in: JSON rows or the lines of a JSONL file, checked chunk by chunk.

A JSONL body is written to a temporary file of ours as it arrives and is read again
when it is complete. So the file never is in memory as a whole, no transaction waits
for a slow sender, and a bad line leaves nothing behind: all lines are written in one
transaction, each checked before it is written.
"""

from __future__ import annotations

from dataclasses import replace
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any, Final

from anyio import to_thread

from runware_jobs.errors import InvalidJob
from runware_jobs.steps.enqueue import Asked, ask

from .limits import MAX_JOB_BYTES
from .problems import BadLine
from .strict_json import read_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
    from typing import IO

    from runware_jobs.core.request import Options

_IN_MEMORY_BYTES: Final = 1_000_000
_CHUNK_JOBS: Final = 500
_CHUNK_BYTES: Final = 8_000_000
"""Lines may carry media: a chunk is bounded by what it weighs, too."""


class Rows:
    """What holds for each row of a batch, and how one is checked."""

    def __init__(
        self, options: Options, *, kind: str, defaults: Mapping[str, Any], allow_private: bool
    ) -> None:
        self._options = options
        self._kind = kind
        self._defaults = defaults
        self._allow_private = allow_private

    def check(self, row: Any) -> Asked:
        """Check one row: params, or `{"custom_id": ..., "params": {...}}`.

        Raises:
            InvalidJob: with what is wrong.
        """
        if not isinstance(row, dict):
            raise InvalidJob('a job must be an object: params, or {"custom_id": ..., "params": {...}}')
        wrapped = "params" in row and not set(row) - {"custom_id", "params"}
        params = row["params"] if wrapped else {**row}
        if not isinstance(params, dict):
            raise InvalidJob("params must be an object", parameter="params")
        custom_id = row.get("custom_id") if wrapped else params.pop("custom_id", None)
        return ask(
            {**self._defaults, **params},
            self._options if custom_id is None else replace(self._options, custom_id=custom_id),
            kind=self._kind,
            allow_private=self._allow_private,
        )


async def checked_list(rows: Rows, jobs: Sequence[Any]) -> AsyncIterator[list[Asked]]:
    """Yield the jobs of a JSON body in chunks.

    Raises:
        InvalidJob: names the place (`jobs[3].params...`) and what is wrong.
    """

    def check(start: int) -> list[Asked]:
        asked = []
        for place, row in enumerate(jobs[start : start + _CHUNK_JOBS], start):
            try:
                asked.append(rows.check(row))
            except InvalidJob as error:
                raise InvalidJob(f"jobs[{place}]: {error.message}", parameter=error.parameter) from error
        return asked

    for start in range(0, len(jobs), _CHUNK_JOBS):
        yield await to_thread.run_sync(check, start)


async def spool(stream: AsyncIterator[bytes], file: IO[bytes]) -> None:
    """Write a body to a file as it arrives, and go back to the beginning."""
    waiting = bytearray()
    async for piece in stream:
        waiting += piece
        if len(waiting) >= _IN_MEMORY_BYTES:
            await to_thread.run_sync(file.write, bytes(waiting))
            waiting.clear()
    await to_thread.run_sync(file.write, bytes(waiting))
    await to_thread.run_sync(file.seek, 0)


def open_spool() -> IO[bytes]:
    """Open a nameless file for one body; small bodies never reach the disk."""
    return SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)


async def checked_lines(rows: Rows, file: IO[bytes]) -> AsyncIterator[list[Asked]]:
    """Yield the jobs of a JSONL file in chunks; empty lines are passed over.

    Raises:
        BadLine: names the line and what is wrong.
        InvalidJob: there is no line at all.
    """
    numbered = enumerate(iter(lambda: file.readline(MAX_JOB_BYTES + 1), b""), 1)
    found = False
    while chunk := await to_thread.run_sync(_check_chunk, rows, numbered):
        found = True
        yield chunk
    if not found:
        raise InvalidJob("The body holds no line: send one job per line.")


def _check_chunk(rows: Rows, numbered: Iterator[tuple[int, bytes]]) -> list[Asked]:
    asked: list[Asked] = []
    weight = 0
    for number, line in numbered:
        if not line.strip():
            continue
        try:
            asked.append(_check_line(rows, line))
        except InvalidJob as error:
            raise BadLine(
                f"line {number}: {error.message}", line=number, parameter=error.parameter
            ) from error
        weight += len(line)
        if len(asked) >= _CHUNK_JOBS or weight >= _CHUNK_BYTES:
            break
    return asked


def _check_line(rows: Rows, line: bytes) -> Asked:
    if len(line) > MAX_JOB_BYTES:
        raise InvalidJob(f"it is longer than {MAX_JOB_BYTES:,} bytes")
    try:
        row = read_json(line)
    except ValueError as error:
        raise InvalidJob(f"it is no JSON that we take: {getattr(error, 'msg', 'not readable')}") from error
    return rows.check(row)
