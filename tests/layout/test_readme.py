"""What the README lists is what there is."""

from __future__ import annotations

import re
from pathlib import Path

from runware_jobs.settings import Settings

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def test_every_setting_is_in_the_readme_and_nothing_else() -> None:
    table = README.split("<!-- settings", 1)[1].split("\n## ", 1)[0]
    listed = {
        name.removeprefix("RUNWARE_").lower()
        for row in table.splitlines()
        if row.startswith("| `")
        for name in re.findall(r"`([A-Z][A-Z_]+)`", row.split("|")[1])
    }

    assert listed == set(Settings.model_fields)


def test_pictures_of_the_readme_are_there() -> None:
    root = Path(__file__).resolve().parents[2]
    pictures = re.findall(r"!\[[^]]*]\(([^)]+)\)", README)

    assert pictures
    assert [picture for picture in pictures if not (root / picture).is_file()] == []
