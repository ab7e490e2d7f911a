"""Files of a batch: a prompt per line, or a task's parameters as JSON per line, checked as they are read."""

from __future__ import annotations

import json
import sys
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

    from runware_jobs.jobs import AsyncJobs
    from runware_jobs.steps.enqueue import Asked

_CHUNK: Final = 500
_JSONL: Final = frozenset({".jsonl", ".ndjson"})

Row = tuple[int, dict[str, Any]]


def read_rows(file: Path) -> Iterator[Row]:
    """Yield each line's number and parameters; empty lines are passed over.

    Raises:
        typer.BadParameter: the file cannot be read, or names the line that is no JSON object.
    """
    if str(file) == "-":
        yield from _rows(sys.stdin, is_json=True, source="standard input")
        return
    try:
        with file.open(encoding="utf-8") as lines:
            yield from _rows(lines, is_json=file.suffix.lower() in _JSONL, source=str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} cannot be read: {error}") from None


def _rows(lines: Iterator[str] | Any, *, is_json: bool, source: str) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            continue
        if not is_json:
            yield number, {"positivePrompt": text}
            continue
        try:
            row = json.loads(text)
        except ValueError as error:
            raise typer.BadParameter(f"{source}, line {number} is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise typer.BadParameter(f"{source}, line {number} must be a JSON object of parameters")
        yield number, row


async def checked_chunks(
    jobs: AsyncJobs,
    rows: Iterator[Row],
    *,
    defaults: Mapping[str, Any],
    kind: str,
    options: Mapping[str, Any],
) -> AsyncIterator[list[Asked]]:
    """Check each row laid over `defaults`, and yield the jobs in chunks.

    Raises:
        InvalidJob: names the line and what is wrong; or there is no line at all.
    """
    from runware_jobs.errors import InvalidJob  # noqa: PLC0415  the queue is loaded by commands that use it

    found = False
    while chunk := list(islice(rows, _CHUNK)):
        found = True
        asked = []
        for number, row in chunk:
            try:
                asked.append(_check(jobs, row, defaults, kind, options))
            except InvalidJob as error:
                raise InvalidJob(f"line {number}: {error.message}", parameter=error.parameter) from error
        yield asked
    if not found:
        raise InvalidJob("The file holds no line: write one job per line.")


def _check(
    jobs: AsyncJobs, row: dict[str, Any], defaults: Mapping[str, Any], kind: str, options: Mapping[str, Any]
) -> Asked:
    """Check a row: parameters, or {"custom_id": ..., "params": {...}} as the HTTP API takes it."""
    custom_id = row.get("custom_id")
    own = {name: value for name, value in row.items() if name != "custom_id"}
    if set(own) == {"params"} and isinstance(own["params"], dict):
        own = own["params"]
    return jobs.check({**defaults, **own}, kind=kind, custom_id=custom_id, **options)


def read_budget(text: str | None) -> Decimal | None:
    """Read an amount of dollars; None stays None.

    Raises:
        typer.BadParameter: it is no positive amount.
    """
    if text is None:
        return None
    try:
        amount = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        amount = Decimal(0)
    if not (amount.is_finite() and amount > 0):
        raise typer.BadParameter(f"--budget {text!r} is no amount of dollars; example: --budget 2.50")
    return amount
