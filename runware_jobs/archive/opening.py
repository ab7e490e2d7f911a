"""From the setting RUNWARE_JOBS_ARCHIVE_URL to an archive that can be written to.

Reads the URL and finds the filesystem; writes and contacts nothing yet, so a wrong
bucket shows at the first file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit
from urllib.request import url2pathname

import fsspec

from runware_jobs.errors import SettingsError
from runware_jobs.outgoing import Resolver, ask_system

from .storing import DEFAULT_TIMEOUT_S, Archive

if TYPE_CHECKING:
    import ssl

_SETTING: Final = "RUNWARE_JOBS_ARCHIVE_URL"


def open_archive(
    url: str,
    *,
    allow_private: bool = False,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    resolver: Resolver = ask_system,
    ssl_context: ssl.SSLContext | None = None,
) -> Archive:
    """Return the archive at `file:///folder` or `s3://bucket/prefix`; close it with `async with`.

    `allow_private` lets it fetch from addresses of this machine and network: it
    belongs to the installation, so no single call can loosen it. The folder is made
    at the first file. Credentials for S3 come from where its tools look for them
    (environment, profile, role), never from the URL.

    Raises:
        SettingsError: the URL is not one of the two, or the extra for S3 is missing.
    """
    parts = urlsplit(url)
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise _wrong("holds a query, a fragment or credentials; give only the place")
    filesystem_and_root = {"file": _folder, "s3": _bucket}.get(parts.scheme)
    if filesystem_and_root is None:
        raise _wrong("must begin with file:/// or s3://")
    filesystem, root, root_url = filesystem_and_root(parts)
    return Archive(
        filesystem,
        root,
        root_url=root_url,
        allow_private=allow_private,
        timeout_s=timeout_s,
        resolver=resolver,
        ssl_context=ssl_context,
    )


def _folder(parts: SplitResult) -> tuple[fsspec.AbstractFileSystem, str, str]:
    if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
        raise _wrong("must name a folder from the root: file:///folder")
    folder = Path(url2pathname(parts.path))
    if ".." in folder.parts or folder == folder.parent:
        raise _wrong("must name a folder below the root, without '..'")
    return fsspec.filesystem("file"), str(folder), folder.as_uri()


def _bucket(parts: SplitResult) -> tuple[fsspec.AbstractFileSystem, str, str]:
    if not parts.netloc:
        raise _wrong("must name a bucket: s3://bucket/prefix")
    try:
        # Without its cache of listings: another worker may have stored the file a moment ago.
        filesystem = fsspec.filesystem("s3", use_listings_cache=False)
    except ImportError as error:
        raise _wrong("names a bucket; install the extra for it: pip install 'runware-jobs[s3]'") from error
    root = "/".join([parts.netloc, *filter(None, parts.path.split("/"))])
    return filesystem, root, f"s3://{root}"


def _wrong(problem: str) -> SettingsError:
    return SettingsError(f"{_SETTING} {problem}", parameter=_SETTING)
