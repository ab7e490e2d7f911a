"""The official packages are pinned, by version and by hash, and by nobody's address."""

from __future__ import annotations

import json
import re
from importlib.metadata import version

from tests.official.node_runs import NODE

LOCK = json.loads((NODE / "package-lock.json").read_text())
WANTED = json.loads((NODE / "package.json").read_text())["dependencies"]
INSTALLED = {
    name.removeprefix("node_modules/"): package for name, package in LOCK["packages"].items() if name
}


def test_the_tests_are_about_these_versions():
    assert version("runware-sdk") == "1.8.0"
    assert WANTED == {"@runware/ai-sdk-provider": "2.0.0", "@runware/sdk-js": "1.3.2", "ai": "6.0.326"}


def test_the_lock_holds_what_is_wanted():
    assert {name: INSTALLED[name]["version"] for name in WANTED} == WANTED


def test_every_package_has_a_hash_and_no_address():
    assert [name for name, package in INSTALLED.items() if "integrity" not in package] == []
    assert [name for name, package in INSTALLED.items() if "resolved" in package] == []


def test_the_readme_names_every_difference():
    said = (NODE.parent / "README.md").read_text()
    here = (NODE.parent / "test_python_differences.py").read_text()
    scripts = "".join(path.read_text() for path in sorted(NODE.glob("*/*.mjs")))
    pinned = re.findall(r"async def (test_\w+)", here) + re.findall(r'async "(differs: [^"]+)"', scripts)

    assert [name for name in pinned if f"`{name}`" not in said] == []
