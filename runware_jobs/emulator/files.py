"""The other files: a coloured 3D model, and the archive that a training leaves behind."""

from __future__ import annotations

import io
import struct
import zipfile
from random import Random

import orjson

_FACES = (
    (0, 2, 1),
    (0, 3, 2),
    (4, 5, 6),
    (4, 6, 7),
    (0, 1, 5),
    (0, 5, 4),
    (2, 3, 7),
    (2, 7, 6),
    (1, 2, 6),
    (1, 6, 5),
    (3, 0, 4),
    (3, 4, 7),
)
_CORNERS = (
    (-1.0, -1.0, -1.0),
    (1.0, -1.0, -1.0),
    (1.0, 1.0, -1.0),
    (-1.0, 1.0, -1.0),
    (-1.0, -1.0, 1.0),
    (1.0, -1.0, 1.0),
    (1.0, 1.0, 1.0),
    (-1.0, 1.0, 1.0),
)
_FLOAT, _USHORT = 5126, 5123
_VERTEX_BUFFER, _INDEX_BUFFER = 34962, 34963


def cube_glb(prompt: str, seed: int) -> bytes:
    """A box in binary glTF 2.0 whose proportions and colour come from prompt and seed."""
    random = Random(f"{seed}/{prompt}")  # noqa: S311  # a repeatable model is the point
    half = [random.uniform(0.4, 1.0) for _ in range(3)]
    points = [[axis * size for axis, size in zip(corner, half, strict=True)] for corner in _CORNERS]
    indices = struct.pack("<36H", *(corner for face in _FACES for corner in face))
    vertices = struct.pack("<24f", *(value for point in points for value in point))
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": prompt[:80]}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 1}, "indices": 0, "material": 0}]}],
        "materials": [
            {"pbrMetallicRoughness": {"baseColorFactor": [random.random() for _ in range(3)] + [1.0]}}
        ],
        "accessors": [
            {"bufferView": 0, "componentType": _USHORT, "count": 36, "type": "SCALAR"},
            {
                "bufferView": 1,
                "componentType": _FLOAT,
                "count": 8,
                "type": "VEC3",
                "min": [-size for size in half],
                "max": half,
            },
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": len(indices), "target": _INDEX_BUFFER},
            {"buffer": 0, "byteOffset": len(indices), "byteLength": len(vertices), "target": _VERTEX_BUFFER},
        ],
        "buffers": [{"byteLength": len(indices) + len(vertices)}],
    }
    json_chunk = orjson.dumps(document)
    json_chunk += b" " * (-len(json_chunk) % 4)
    data = indices + vertices
    body = (
        struct.pack("<I4s", len(json_chunk), b"JSON")
        + json_chunk
        + struct.pack("<I4s", len(data), b"BIN\0")
        + data
    )
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


def training_zip(air: str, seed: int) -> bytes:
    """A small archive with the trained weights' stand-in and a note about them."""
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
