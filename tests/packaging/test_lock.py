"""The lock names versions and hashes, and no place on any network or disk."""

from __future__ import annotations

import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.deployment import ROOT

LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINNED = {
    canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", LOCK, re.MULTILINE)
}


def test_lock_names_no_index_and_no_path():
    assert re.findall(r"://|^ *-(?!-hash)|--(?!hash=sha256:)\S+| @ |/(?!\S*\)$)", LOCK, re.MULTILINE) == []


def test_every_pin_has_a_hash():
    pins = re.split(r"^(?=[\w.-]+==)", LOCK, flags=re.MULTILINE)[1:]

    assert [pin.split()[0] for pin in pins if "--hash=sha256:" not in pin] == []


def test_lock_satisfies_every_dependency():
    asked = [
        Requirement(line) for line in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"])
    ]
    wrong = [
        f"{one}: locked is {PINNED.get(canonicalize_name(one.name))}"
        for one in asked
        if not one.specifier.contains(PINNED.get(canonicalize_name(one.name), "0"))
    ]

    assert wrong == [], "run `make lock`"
