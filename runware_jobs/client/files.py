"""Local files as parameters: read where the caller is, never by a worker on somebody's behalf.

A `pathlib.Path` is always meant as a file, and bytes as what is in one: JSON has no other use for
them. A string is taken for a file only in parameters that hold media, only when it names an existing
file, and only with a media ending: a prompt that happens to name a file on disk must never be uploaded.
"""

from __future__ import annotations

import base64
import mimetypes
import os
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from .errors import create_runware_error

if TYPE_CHECKING:
    from collections.abc import Callable

_MEDIA_PARAMETERS = frozenset(
    {
        "frameImages",
        "guideImage",
        "image",
        "inputImage",
        "inputImages",
        "maskImage",
        "media",
        "referenceImages",
        "referenceVideos",
        "seedImage",
    }
)
_MEDIA_TREE = "inputs"
# Below `inputs` names are each model's own; what is written for a model to read is never a file.
_PROSE_ENDINGS = ("prompt", "text")
_MEDIA_TYPES: dict[str, str] = {
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".flac": "audio/flac",
    ".gif": "image/gif",
    ".glb": "model/gltf-binary",
    ".gltf": "model/gltf+json",
    ".heic": "image/heic",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".m4a": "audio/mp4",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".ogg": "audio/ogg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".wav": "audio/wav",
    ".webm": "video/webm",
    ".webp": "image/webp",
    ".zip": "application/zip",
}
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (8, b"WAVE", "audio/wav"),
    (0, b"fLaC", "audio/flac"),
    (0, b"OggS", "audio/ogg"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"glTF", "model/gltf-binary"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (0, b"PK\x03\x04", "application/zip"),
)
# A path is never longer; looking up a megabyte of base64 as one would only raise.
_MAX_PATH_CHARACTERS = 4_096


def encode_local_files(
    params: Mapping[str, Any], *, encode: Callable[[Path | bytes], str] | None = None
) -> dict[str, Any]:
    """Copy `params` with local files and bytes replaced by their base64. Blocking: it reads the files.

    `encode` spells one of them; None is `file_to_base64`, whose text the platform takes in every media parameter.

    Errors:
        RunwareError (validation): a file that cannot be read; `parameter` names where it stands.
    """
    return {name: _encoded(value, (name,), encode or file_to_base64) for name, value in params.items()}


def holds_local_files(value: Any) -> bool:
    """Say whether `encode_local_files` might change anything; False for most params, and cheap."""
    if isinstance(value, str):
        return _names_media(value)
    if isinstance(value, Mapping):
        return any(map(holds_local_files, value.values()))
    if isinstance(value, list | tuple):
        return any(map(holds_local_files, value))
    return isinstance(value, PurePath | bytes | bytearray | memoryview)


def file_to_data_uri(source: Path | str | bytes) -> str:
    """Read a file, or take bytes, as a `data:` URI; the type comes from the ending, else from the first bytes.

    Errors:
        OSError: the file cannot be read.
    """
    if isinstance(source, bytes | bytearray):
        return _data_uri(bytes(source), _sniffed(bytes(source)))
    path = Path(source)
    content = path.read_bytes()
    media_type = (
        _MEDIA_TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0] or _sniffed(content)
    )
    return _data_uri(content, media_type)


def file_to_base64(source: Path | str | bytes) -> str:
    """Read a file, or take bytes, as bare base64: no prefix, no type. The platform looks at the bytes themselves.

    Errors:
        OSError: the file cannot be read.
    """
    content = bytes(source) if isinstance(source, bytes | bytearray) else Path(source).read_bytes()
    return base64.b64encode(content).decode("ascii")


def _encoded(value: Any, place: tuple[str, ...], encode: Callable[[Path | bytes], str]) -> Any:
    if isinstance(value, PurePath):
        return _read(Path(value), place, encode)
    if isinstance(value, bytes | bytearray | memoryview):
        return encode(bytes(value))
    if isinstance(value, Mapping):
        return {name: _encoded(item, (*place, str(name)), encode) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encoded(item, (*place, str(position)), encode) for position, item in enumerate(value)]
    if isinstance(value, str) and _holds_media(place) and _names_media(value) and _is_file(value):
        return _read(Path(value), place, encode)
    return value


def _holds_media(place: tuple[str, ...]) -> bool:
    if any(name.lower().endswith(_PROSE_ENDINGS) for name in place):
        return False
    return place[0] == _MEDIA_TREE or any(name in _MEDIA_PARAMETERS for name in place)


def _names_media(text: str) -> bool:
    if len(text) > _MAX_PATH_CHARACTERS or text.startswith("data:") or "://" in text:
        return False
    return os.path.splitext(text)[1].lower() in _MEDIA_TYPES  # noqa: PTH122 - each prompt of each task comes by here


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for this system, or a zero byte
        return False


def _read(path: Path, place: tuple[str, ...], encode: Callable[[Path | bytes], str]) -> str:
    parameter = ".".join(place)
    try:
        return encode(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise create_runware_error(
            "invalidFile",
            f'"{parameter}" names a file that cannot be read ({reason}): {path.name}.',
            parameter=parameter,
        ) from error


def _sniffed(content: bytes) -> str:
    for offset, signature, media_type in _SIGNATURES:
        if content.startswith(signature, offset):
            return media_type
    return "application/octet-stream"


def _data_uri(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
