"""What docs/settings.md and docs/operating.md say is what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from runware_jobs.cli.app import run
from runware_jobs.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = (ROOT / "docs/settings.md").read_text()
OPERATING = (ROOT / "docs/operating.md").read_text()
README = (ROOT / "README.md").read_text()


def _rows() -> dict[str, list[str]]:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in SETTINGS.splitlines()
        if line.startswith("| `")
    ]
    return {re.findall(r"`([A-Z_]+)`", row[0])[0].removeprefix("RUNWARE_").lower(): row for row in rows}


def _shown(default: Any) -> str:
    match default:
        case None | ():
            return "none"
        case bool():
            return str(default).lower()
        case float():
            return f"{default:g}" if default < 1e6 else str(default)
        case _:
            return str(default)


def test_settings_guide_lists_every_setting_with_its_default_and_nothing_else() -> None:
    rows = _rows()

    assert {name: row[2] for name, row in rows.items()} == {
        name: _shown(field.default) for name, field in Settings.model_fields.items()
    }


def test_every_duration_and_amount_has_its_unit() -> None:
    units = {"_s": "s", "_usd": "USD", "_url": "URL"}
    wrong = [
        name
        for name, row in _rows().items()
        for suffix, unit in units.items()
        if name.endswith(suffix) and row[1] not in {unit, "requests/s"}
    ]

    assert wrong == []


def test_readme_leads_to_both_guides() -> None:
    assert "(docs/operating.md)" in README
    assert "(docs/settings.md)" in README


def test_metrics_of_the_operating_guide_are_served() -> None:
    served = (ROOT / "runware_jobs/web/health.py").read_text()
    named = set(re.findall(r"`runware_jobs_([a-z_]+)`", OPERATING))

    assert named
    assert [name for name in named if f'"{name}"' not in served] == []


def test_commands_of_the_operating_guide_are_there() -> None:
    commands = set(re.findall(r"`?runware-jobs ((?:account|lanes|unclear|keys) [a-z]+|[a-z]+)", OPERATING))

    assert commands
    assert {command: run([*command.split(), "--help"]) for command in commands} == dict.fromkeys(commands, 0)
