"""Output files: copies of assets, made before their URL expires.

One archive is a folder or a bucket, given by one URL. What is archived and when is
decided in `steps`; which addresses are fetched from is guarded by `outgoing`.
"""

from __future__ import annotations

from .opening import open_archive
from .storing import Archive, ArchiveUnavailable, FetchFailed, KeyRefused, Stored, TooLarge

__all__ = [
    "Archive",
    "ArchiveUnavailable",
    "FetchFailed",
    "KeyRefused",
    "Stored",
    "TooLarge",
    "open_archive",
]
