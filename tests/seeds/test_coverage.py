"""The table in docs/client.md names everything that the SDK documents name, and a test that is there for each."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.seeds.inventory import Named, everything

ROOT = Path(__file__).resolve().parents[2]
NOT_APPLICABLE = "not applicable: "


class Line(NamedTuple):
    """One line of the table."""

    named: list[Named]
    here: str
    test: str


def lines() -> list[Line]:
    text = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
    table = text.split("\n| document | section |", 1)[1].splitlines()[2:]
    return [_line(row) for row in table if row.startswith("|")]


def _line(row: str) -> Line:
    documents, section, kind, names, here, test = (cell.strip() for cell in row.strip("|").split("|"))
    named = [
        Named(document, section, kind, name)
        for document in documents.split(", ")
        for name in re.findall(r"`([^`]+)`", names)
    ]
    return Line(named, here, test.strip("`"))


def test_everything_that_the_documents_name_has_a_line() -> None:
    covered = {one for line in lines() for one in line.named}

    assert [one for one in everything() if one not in covered] == []


def test_no_line_is_about_what_no_document_names() -> None:
    named = set(everything())

    assert [one for line in lines() for one in line.named if one not in named] == []


def test_only_a_line_that_gives_its_reason_is_without_a_test() -> None:
    assert [line for line in lines() if not line.test and not line.here.startswith(NOT_APPLICABLE)] == []
    assert [line for line in lines() if line.here.startswith(NOT_APPLICABLE) and line.test] == []


@pytest.mark.slow
def test_every_test_that_a_line_names_is_there() -> None:
    wanted = {f"tests/{line.test}" for line in lines() if line.test}
    files = sorted({name.partition("::")[0] for name in wanted})
    listing = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "--collect-only", "-q", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    ).stdout.splitlines()
    # A line may name one case, all cases of a test, or all tests of a file.
    there = {name for full in listing for name in (full, full.partition("[")[0], full.partition("::")[0])}

    assert sorted(wanted - there) == []
