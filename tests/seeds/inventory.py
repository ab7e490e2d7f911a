"""What the three SDK documents name: document, section, kind, names. Names only, read off once.

`003` and `004` are two states of the JavaScript SDK's document, `001` is the Python SDK's. A note or a line of a
changelog stands here by its place (`v1.2.3 #1`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple


class Named(NamedTuple):
    """One thing that a document names."""

    document: str
    section: str
    kind: str
    name: str


def everything() -> list[Named]:
    """Give all of them, in the order of the documents."""
    content = json.loads((Path(__file__).parent / "inventory.json").read_text(encoding="utf-8"))
    return [
        Named(document, section, kind, name)
        for document, sections in content.items()
        for section, kinds in sections.items()
        for kind, names in kinds.items()
        for name in names
    ]
