"""Local files as parameters: read where the caller is, never by a worker on somebody's behalf.

A `pathlib.Path` is always meant as a file. A string is taken for one only in parameters that hold
media, only when it names an existing file, and only with a media ending: a prompt that happens to
name a file on disk must never be uploaded.
"""

from __future__ import annotations

import base64
import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import create_runware_error

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def encode_local_files(params: Mapping[str, Any]) -> dict[str, Any]:
    """Copy `params` with local files replaced by data URIs. Blocking: it reads the files.

    Errors:
        RunwareError (validation): a `Path` that cannot be read; `parameter` names where it stands.
    """
    return {name: _encoded(value, (name,)) for name, value in params.items()}


def file_to_data_uri(source: Path | str | bytes) -> str:
    """Read a file, or take bytes, as a `data:` URI; the type comes from the ending, else from the first bytes."""
    if isinstance(source, bytes | bytearray):
        return _data_uri(bytes(source), _sniffed(bytes(source)))
    path = Path(source)
    content = path.read_bytes()
    media_type = (
        _MEDIA_TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0] or _sniffed(content)
    )
    return _data_uri(content, media_type)


def file_to_base64(source: Path | str | bytes) -> str:
    """Read a file, or take bytes, as bare base64: no prefix, no type."""
    content = bytes(source) if isinstance(source, bytes | bytearray) else Path(source).read_bytes()
    return base64.b64encode(content).decode("ascii")


def _encoded(value: Any, place: tuple[str, ...]) -> Any:
    if isinstance(value, Path):
        return _read(value, place)
    if isinstance(value, dict):
        return {name: _encoded(item, (*place, str(name))) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encoded(item, (*place, str(position))) for position, item in enumerate(value)]
    if isinstance(value, str) and _holds_media(place) and _is_media_file(value):
        return _read(Path(value), place)
    return value


def _holds_media(place: tuple[str, ...]) -> bool:
    return place[0] == _MEDIA_TREE or any(name in _MEDIA_PARAMETERS for name in place)


def _is_media_file(text: str) -> bool:
    if len(text) > _MAX_PATH_CHARACTERS or text.startswith("data:") or "://" in text:
        return False
    path = Path(text)
    if path.suffix.lower() not in _MEDIA_TYPES:
        return False
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long for this system, or a zero byte
        return False


def _read(path: Path, place: tuple[str, ...]) -> str:
    parameter = ".".join(place)
    try:
        return file_to_data_uri(path)
    except OSError as error:
        raise create_runware_error(
            "invalidFile",
            f'"{parameter}" names a file that cannot be read ({error.strerror}): {path.name}.',
            parameter=parameter,
        ) from error


def _sniffed(content: bytes) -> str:
    for offset, signature, media_type in _SIGNATURES:
        if content.startswith(signature, offset):
            return media_type
    return "application/octet-stream"


def _data_uri(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
