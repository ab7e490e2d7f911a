"""What docs/client.md lists is what there is."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from pathlib import Path

from runware_jobs.client import ErrorCode, Runware, SDKConfig

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "client.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return GUIDE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def first_cells(text: str) -> set[str]:
    rows = (row.split("|")[1] for row in text.splitlines() if row.startswith("| `"))
    return {name for cell in rows for name in re.findall(r"`(\w+)`", cell)}


def test_every_option_is_in_the_guide_and_nothing_else() -> None:
    assert first_cells(section("Options")) == {option.name for option in fields(SDKConfig)}


def test_every_error_code_is_in_the_guide_and_nothing_else() -> None:
    codes = section("Errors").split("| request | repeated after |", 1)[0]

    assert first_cells(codes) == {code.value for code in ErrorCode}


def test_every_method_of_the_guide_is_there() -> None:
    methods = first_cells(section("The methods of the JavaScript SDK").split("These may stand", 1)[0])
    utilities = re.findall(r"`(\w+)\(", section("Utilities, the catalogue, serverless apps"))

    assert {"image_inference", "model_upload", "invoke"} <= methods | set(utilities)
    assert [
        name for name in (*methods, *utilities) if not inspect.isfunction(getattr(Runware, name, None))
    ] == []
