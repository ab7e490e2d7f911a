"""Find the demo's prompts: inside the installed wheel, else among the examples of a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).resolve()


def read_prompts() -> list[str]:
    """Read the prompts, one per line of the file.

    Raises:
        FileNotFoundError: the package was put together without them.
    """
    inside = _HERE.parents[1] / "prompts.txt"
    file = inside if inside.is_file() else _HERE.parents[3] / "examples" / "prompts.txt"
    return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
