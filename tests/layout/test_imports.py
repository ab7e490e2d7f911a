"""The house keeps its shape: directions of imports, rules without a clock, files that tell one story."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from importlinter.cli import lint_imports

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "runware_jobs"
CORE = sorted((PACKAGE / "core").rglob("*.py"))
# About 400 (docs/decisions/0001); a few lines more are no second story.
MOST_LINES = 420
# What a rule is handed by its caller instead, so that it can be read in a table of cases.
NOT_IN_CORE = {"asyncio", "random", "time"}
DATABASE = {"alembic", "psycopg", "sqlalchemy"}
# Makes ids, which need the time and randomness, and decides nothing.
MAKES_IDS = "identity.py"


def test_rooms_import_only_what_stands_below_them(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)

    status = lint_imports(config_filename="pyproject.toml", no_cache=True, no_logo=True)

    assert status == 0, capsys.readouterr().out


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.name)
def test_rules_are_handed_time_and_chance(path):
    if path.name == MAKES_IDS:
        return

    assert imported(path) & NOT_IN_CORE == set()


def test_only_the_store_works_with_the_database():
    outside = [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] != "store"]
    used = {
        (str(path.relative_to(PACKAGE)), node.module)
        for path in outside
        for node in evaluated(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in DATABASE
    }

    # An error may be caught anywhere, and a URL shown without its password.
    assert {(name, module) for name, module in used if module != "sqlalchemy.exc"} == {
        ("assembly.py", "sqlalchemy.engine")
    }


@pytest.mark.parametrize(
    "folder", ["runware_jobs", "tests", "migrations", "benchmarks", "examples", "scripts"]
)
def test_every_file_tells_one_story(folder):
    # A revision is one story however many tables it makes; a list of generated types is read by type checkers.
    exempt = {ROOT / "migrations" / "versions", PACKAGE / "client" / "types"}
    paths = [path for path in (ROOT / folder).rglob("*.py") if path.parent not in exempt]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in paths}

    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_every_file_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


def evaluated(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk what is run, which leaves out imports for types."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from evaluated(node)


def imported(path: Path) -> set[str]:
    """Name the top-level modules that a file imports where it is loaded, types apart."""
    names: set[str] = set()
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Import):
            names |= {alias.name.split(".")[0] for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom) and statement.level == 0:
            names.add((statement.module or "").split(".")[0])
    return names
