"""`make` on its own says what there is, and each target runs something that exists."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from tests.packaging.deployment import ROOT

HANDED_DOWN = {"MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "ARGS", "PYTHON"}
TARGETS = ["setup", "demo", "up", "test", "quick", "check", "format", "bench", "chaos", "lock", "clean"]


def make(*words):
    # Under `make test` the outer make hands its own flags and variables down.
    environment = {name: value for name, value in os.environ.items() if name not in HANDED_DOWN}
    done = subprocess.run(
        ["make", "--no-print-directory", "-C", str(ROOT), *words],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return done.stdout


def test_make_alone_lists_every_target():
    shown = re.findall(r"^ +make (\w+) +\S", make(), re.MULTILINE)

    assert shown == ["help", *TARGETS]


@pytest.mark.parametrize("target", TARGETS)
def test_target_runs_files_that_are_there(target):
    commands = make("--dry-run", "--assume-old=.venv/.ready", target)
    named = re.findall(r"\b(?:tests|benchmarks)/[\w/.]+", commands)

    assert [
        name for name in named if not any((ROOT / name).rglob("*.py")) and not (ROOT / name).is_file()
    ] == []


def test_arguments_are_handed_on():
    assert (
        make("--dry-run", "--assume-old=.venv/.ready", "test", "ARGS=-k claim").strip()
        == ".venv/bin/pytest -k claim"
    )
