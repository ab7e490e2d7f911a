"""A 3D model as binary glTF 2.0: a turned body whose outline comes from prompt and seed, papered with a picture."""

from __future__ import annotations

import io
import math
import struct
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

_AROUND, _UP = 40, 24
_FLOAT, _USHORT = 5126, 5123
_VERTEX_BUFFER, _INDEX_BUFFER = 34962, 34963
_TEXTURE_SIDE = 512


@dataclass(slots=True)
class _Mesh:
    positions: list[tuple[float, float, float]] = field(default_factory=list)
    normals: list[tuple[float, float, float]] = field(default_factory=list)
    places: list[tuple[float, float]] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)


def model_glb(prompt: str, seed: int, picture: Image.Image) -> bytes:
    """A vessel of 1 to 2 units, one of a kind for prompt and seed, with the picture around it."""
    mesh = _turned(_outline(Random(f"{seed}/{prompt}")))  # noqa: S311  # a repeatable model is the point
    small = picture.convert("RGB").resize((_TEXTURE_SIDE, _TEXTURE_SIDE))
    texture = io.BytesIO()
    small.save(texture, "JPEG", quality=85)
    return _glb(mesh, texture.getvalue(), prompt[:80])


def _outline(random: Random) -> list[tuple[float, float]]:
    """Radius and height from foot to rim: a few waves, closed at both ends."""
    height = random.uniform(1.0, 2.0)
    base, first, second = random.uniform(0.35, 0.55), random.uniform(0.05, 0.22), random.uniform(0.02, 0.09)
    phase, turns = random.uniform(0, math.tau), random.choice((1.0, 1.5, 2.0))
    outline = [(0.0, 0.0)]
    for step in range(_UP + 1):
        share = step / _UP
        radius = base + first * math.sin(phase + math.tau * turns * share / 2)
        radius += second * math.sin(phase + math.tau * turns * share * 2)
        outline.append((max(0.08, radius), height * share))
    return [*outline, (0.0, height)]


def _turned(outline: Sequence[tuple[float, float]]) -> _Mesh:
    mesh = _Mesh()
    rows = len(outline)
    for row, (radius, height) in enumerate(outline):
        before, after = outline[max(0, row - 1)], outline[min(rows - 1, row + 1)]
        rise, spread = after[1] - before[1], after[0] - before[0]
        length = math.hypot(rise, spread) or 1.0
        for step in range(_AROUND + 1):
            angle = math.tau * step / _AROUND
            cosine, sine = math.cos(angle), math.sin(angle)
            mesh.positions.append((radius * cosine, height, radius * sine))
            mesh.normals.append((rise / length * cosine, -spread / length, rise / length * sine))
            mesh.places.append((1 - step / _AROUND, 1 - row / (rows - 1)))
    for row in range(rows - 1):
        for step in range(_AROUND):
            near, far = row * (_AROUND + 1) + step, (row + 1) * (_AROUND + 1) + step
            mesh.indices += (near, far, near + 1, near + 1, far, far + 1)
    return mesh


def _glb(mesh: _Mesh, texture: bytes, name: str) -> bytes:
    parts = (
        struct.pack(f"<{len(mesh.indices)}H", *mesh.indices),
        *(
            b"".join(struct.pack(f"<{len(vector)}f", *vector) for vector in vectors)
            for vectors in (mesh.positions, mesh.normals, mesh.places)
        ),
        texture,
    )
    views: list[dict[str, Any]] = []
    data = b""
    for number, part in enumerate(parts):
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(data), "byteLength": len(part)}
        if number < len(parts) - 1:
            view["target"] = _VERTEX_BUFFER if number else _INDEX_BUFFER
        views.append(view)
        data += part + bytes(-len(part) % 4)
    document = orjson.dumps(_document(mesh, views, len(data), name))
    document += b" " * (-len(document) % 4)
    body = b"".join(
        struct.pack("<I4s", len(content), sort) + content
        for sort, content in ((b"JSON", document), (b"BIN\0", data))
    )
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


def _document(mesh: _Mesh, views: list[dict[str, Any]], size_bytes: int, name: str) -> dict[str, Any]:
    # Bounds as the file holds them: in single precision.
    columns = [struct.unpack("<3f", struct.pack("<3f", *point)) for point in mesh.positions]
    count = len(mesh.positions)
    return {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": name}],
        "meshes": [
            {
                "primitives": [
                    {"attributes": {"POSITION": 1, "NORMAL": 2, "TEXCOORD_0": 3}, "indices": 0, "material": 0}
                ]
            }
        ],
        "materials": [
            {
                "doubleSided": True,
                "pbrMetallicRoughness": {
                    "baseColorTexture": {"index": 0},
                    "metallicFactor": 0.0,
                    "roughnessFactor": 0.7,
                },
            }
        ],
        "textures": [{"source": 0, "sampler": 0}],
        "samplers": [{"magFilter": 9729, "minFilter": 9729}],
        "images": [{"bufferView": 4, "mimeType": "image/jpeg"}],
        "accessors": [
            {"bufferView": 0, "componentType": _USHORT, "count": len(mesh.indices), "type": "SCALAR"},
            {
                "bufferView": 1,
                "componentType": _FLOAT,
                "count": count,
                "type": "VEC3",
                "min": [min(point[axis] for point in columns) for axis in range(3)],
                "max": [max(point[axis] for point in columns) for axis in range(3)],
            },
            {"bufferView": 2, "componentType": _FLOAT, "count": count, "type": "VEC3"},
            {"bufferView": 3, "componentType": _FLOAT, "count": count, "type": "VEC2"},
        ],
        "bufferViews": views,
        "buffers": [{"byteLength": size_bytes}],
    }
