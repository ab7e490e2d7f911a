"""The official JavaScript packages: installed once by npm, and each one's scenarios run once per session.

The first test that asks installs and runs; the other test processes wait for it and read what it wrote.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.emulator_process import running_emulator
from tests.support.node_packages import locked, skip_or_fail, why_missing

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

    Reports = Mapping[str, Mapping[str, Any]]

NODE = Path(__file__).parent / "node"
# Together with the installing it stays below the time that a test has.
_RUN_WITHIN_S = 55
# Trainings end within a poll; everything else is a hundred times as fast as the platform.
_LATENCIES = {"training": 60, "modelUpload": 20}
_SPEED = 100


def scenarios_in(folder: str) -> list[str]:
    """Name the scenarios that the scripts of a folder hold: their methods, written `async "name"(...)`."""
    texts = [path.read_text() for path in sorted((NODE / folder).glob("*.mjs"))]
    return [name for text in texts for name in re.findall(r'^  async "([^"]+)"\(', text, re.MULTILINE)]


def run_once(script: str, tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """Give what each scenario of a script reported, by its name; run it if nobody has in this session.

    A machine without Node or without a way to the registry skips the test, and fails it where CI is true.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    said, missing = shared / f"{script}.lines", shared / "node.missing"
    with locked(shared / "node.lock"):
        reason = missing.read_text() if missing.exists() else why_missing(NODE)
        if reason is None and not said.exists():
            said.write_text(_run(script, shared))
    if reason is not None:
        missing.write_text(reason)
        skip_or_fail(reason)
    return {report["scenario"]: report for report in map(json.loads, said.read_text().splitlines())}


def _run(script: str, shared: Path) -> str:
    """Run the scenarios against emulators of their own: one as usual, and one where nobody has a cent."""
    with (
        running_emulator(log=shared / f"{script}.emulator.log", speed=_SPEED) as usual,
        running_emulator(log=shared / f"{script}.poor.log", speed=_SPEED) as poor,
    ):
        usual.configure(latencies=_LATENCIES)
        poor.configure(balance_usd=0)
        done = subprocess.run(
            ["node", script, usual.address, poor.address],
            cwd=NODE,
            capture_output=True,
            text=True,
            check=False,
            timeout=_RUN_WITHIN_S,
        )
    assert done.returncode == 0, f"{script} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout
