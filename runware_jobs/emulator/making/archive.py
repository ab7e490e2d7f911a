"""What a training leaves behind, and what a dataset has to be."""

from __future__ import annotations

import io
import zipfile
from random import Random

import orjson


def training_zip(air: str, seed: int) -> bytes:
    """A small archive with a stand-in for the trained weights and a note about them."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        weights = Random(f"{seed}/{air}").randbytes(4096)  # noqa: S311  # repeatable stand-in weights
        for name, content in (
            ("weights.bin", weights),
            ("model.json", orjson.dumps({"air": air, "seed": seed})),
        ):
            # A fixed date, or the same training would give another archive each time.
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), content)
    return out.getvalue()
