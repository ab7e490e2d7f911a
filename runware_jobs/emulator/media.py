"""Uploaded files: what mediaStorage and imageUpload keep, by UUID."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

_SIGNATURES = (
    (b"\xff\xd8\xff", "image/jpeg", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "image/png", "png"),
    (b"GIF8", "image/gif", "gif"),
    (b"ID3", "audio/mpeg", "mp3"),
    (b"\xff\xfb", "audio/mpeg", "mp3"),
    (b"glTF", "model/gltf-binary", "glb"),
    (b"PK\x03\x04", "application/zip", "zip"),
)
_UNKNOWN = ("application/octet-stream", "bin")


@dataclass(frozen=True, slots=True)
class Media:
    """One uploaded file; `source_url` instead of a body where a URL was given, which is never fetched."""

    uuid: str
    account: str
    body: bytes
    content_type: str
    extension: str
    source_url: str | None = None


class MediaError(ValueError):
    """What was uploaded is neither a URL, nor a data URI, nor base64."""


def read_upload(value: str, uuid: str, account: str) -> Media:
    """Media from a URL, data URI or bare base64; the type comes from the bytes. Raises MediaError."""
    if value.startswith(("http://", "https://")):
        extension = value.partition("?")[0].rpartition(".")[2].lower()
        extension = extension if extension.isalnum() and len(extension) <= 4 else "jpg"  # noqa: PLR2004  # longer ones are no file extensions
        return Media(uuid, account, b"", "", extension, source_url=value)
    encoded = value.partition(",")[2] if value.startswith("data:") else value
    try:
        body = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MediaError("neither a URL, nor a data URI, nor base64") from error
    if not body:
        raise MediaError("the file is empty")
    content_type, extension = sniff(body)
    return Media(uuid, account, body, content_type, extension)


def sniff(body: bytes) -> tuple[str, str]:
    """Content type and file extension by the first bytes."""
    for signature, content_type, extension in _SIGNATURES:
        if body.startswith(signature):
            return content_type, extension
    if body[:4] == b"RIFF":
        return ("image/webp", "webp") if body[8:12] == b"WEBP" else ("audio/wav", "wav")
    if body[4:8] == b"ftyp":
        return "video/mp4", "mp4"
    return _UNKNOWN
