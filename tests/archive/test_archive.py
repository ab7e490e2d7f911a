"""Files of an archive: whole or absent, written once, never outside, never from our own network."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from runware_jobs.archive import Archive, ArchiveUnavailable, FetchFailed, KeyRefused, TooLarge, open_archive
from runware_jobs.core.addresses import AddressRefused
from runware_jobs.errors import SettingsError
from runware_jobs.outgoing import NameNotFound
from tests.webhooks.receiver import Receiver, answering

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = bytes(range(256)) * 1000
PNG = {"Content-Type": "Image/PNG; charset=binary"}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "archive"


@pytest.fixture
async def archive(folder):
    async with open_archive(folder.as_uri(), allow_private=True, timeout_s=5) as archive:
        yield archive


@pytest.fixture
async def bucket():
    """An archive on a store of objects, which has no rename: fsspec's own, in memory."""
    MemoryFileSystem.store.clear()
    async with Archive(
        MemoryFileSystem(), "/bucket/prefix", root_url="s3://bucket/prefix", allow_private=True
    ) as archive:
        yield archive
    MemoryFileSystem.store.clear()


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def test_asset_is_kept_whole_with_its_size_and_hash(archive, folder):
    async with Receiver(answering(body=IMAGE, headers=PNG)) as source:
        stored = await archive.fetch_and_store(source.url("/a.png"), "acme/job-1/0.png", max_bytes=len(IMAGE))

    assert (folder / "acme/job-1/0.png").read_bytes() == IMAGE
    assert stored.url == f"{folder.as_uri()}/acme/job-1/0.png"
    assert stored.size_bytes == len(IMAGE)
    assert stored.sha256 == hashlib.sha256(IMAGE).hexdigest()
    assert stored.content_type == "image/png"
    assert _files(folder) == ["acme/job-1/0.png"]


@pytest.mark.parametrize("named", ["", "png", "image/", "a/b/c", "image/png, text/html", "x/" + "y" * 500])
async def test_what_is_no_media_type_is_kept_as_plain_bytes(archive, named):
    async with Receiver(answering(body=IMAGE, headers={"Content-Type": named})) as source:
        stored = await archive.fetch_and_store(source.url(), "0.png", max_bytes=len(IMAGE))

    assert stored.content_type == "application/octet-stream"


async def test_same_bytes_are_not_written_again(archive, folder):
    path = folder / "0.png"
    async with Receiver(answering(body=IMAGE)) as source:
        first = await archive.fetch_and_store(source.url(), "0.png", max_bytes=len(IMAGE))
        before = path.stat()
        second = await archive.fetch_and_store(source.url(), "0.png", max_bytes=len(IMAGE))

    assert first == second
    assert (before.st_ino, before.st_mtime_ns) == (path.stat().st_ino, path.stat().st_mtime_ns)


async def test_other_bytes_of_the_same_size_replace_the_file(archive, folder):
    await archive.store(b"one", "0.txt", content_type="text/plain")
    await archive.store(b"two", "0.txt", content_type="text/plain")

    assert (folder / "0.txt").read_bytes() == b"two"


async def test_reader_never_sees_half_a_file(archive, folder):
    """While the second half is on its way, the key still shows what it showed before."""
    await archive.store(b"before", "0.bin", content_type="x/y")
    halfway, go_on = asyncio.Event(), asyncio.Event()

    async def answer(request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        await writer.drain()
        halfway.set()
        await go_on.wait()
        writer.write(b"half")

    async with Receiver(answer) as source:
        fetching = asyncio.create_task(archive.fetch_and_store(source.url(), "0.bin", max_bytes=100))
        await halfway.wait()
        meanwhile = (folder / "0.bin").read_bytes()
        go_on.set()
        await fetching

    assert (meanwhile, (folder / "0.bin").read_bytes()) == (b"before", b"halfhalf")


async def test_asset_that_breaks_off_leaves_nothing(archive, folder):
    async def break_off(request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        writer.close()

    async with Receiver(break_off) as source:
        with pytest.raises(FetchFailed) as failed:
            await archive.fetch_and_store(source.url(), "0.bin", max_bytes=1000)

    assert failed.value.retryable
    assert _files(folder) == []


async def test_cancelling_leaves_nothing(archive, folder):
    async def silent(request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await asyncio.Event().wait()

    async with Receiver(silent) as source:
        fetching = asyncio.create_task(archive.fetch_and_store(source.url(), "0.bin", max_bytes=1000))
        await source.arrived.wait()
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching

    assert _files(folder) == []


async def test_slow_asset_is_given_up(folder):
    async def silent(request, writer):
        await asyncio.Event().wait()

    async with (
        open_archive(folder.as_uri(), allow_private=True, timeout_s=0.1) as archive,
        Receiver(silent) as source,
    ):
        with pytest.raises(FetchFailed) as failed:
            await archive.fetch_and_store(source.url(), "0.bin", max_bytes=1000)

    assert failed.value.retryable


async def test_announced_size_is_refused_before_a_byte_is_kept(archive, folder):
    async with Receiver(answering(body=b"x" * 101)) as source:
        with pytest.raises(TooLarge):
            await archive.fetch_and_store(source.url(), "0.bin", max_bytes=100)

    assert _files(folder) == []


async def test_endless_asset_is_cut_off_at_the_limit(archive, folder):
    async def endless(request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with Receiver(endless) as source:
        with pytest.raises(TooLarge) as refused:
            await archive.fetch_and_store(source.url(), "0.bin", max_bytes=3_000_000)

    assert not refused.value.retryable
    assert _files(folder) == []


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        ("404 Not Found", False),
        ("403 Forbidden", False),
        ("410 Gone", False),
        ("204 No Content", False),
        ("206 Partial Content", False),
        ("302 Found", False),
        ("429 Slow Down", True),
        ("503 Later", True),
    ],
)
async def test_nothing_but_200_is_taken(archive, folder, status, retryable):
    async with (
        Receiver(answering(body=b"secret")) as inner,
        Receiver(answering(status, headers={"Location": inner.url()})) as source,
    ):
        with pytest.raises(FetchFailed) as failed:
            await archive.fetch_and_store(source.url(), "0.bin", max_bytes=1000)

    assert (int(status[:3]), retryable) == (failed.value.status_code, failed.value.retryable)
    assert inner.connections == 0
    assert _files(folder) == []


async def test_packed_asset_is_refused(archive):
    async with Receiver(answering(body=b"x", headers={"Content-Encoding": "gzip"})) as source:
        with pytest.raises(FetchFailed):
            await archive.fetch_and_store(source.url(), "0.bin", max_bytes=1000)


async def test_private_address_is_not_fetched_from(folder):
    async def names(host, port):
        return ["127.0.0.1"]

    async with open_archive(folder.as_uri(), resolver=names) as archive, Receiver() as source:
        for url in (
            source.url(),
            f"https://127.0.0.1:{source.port}/",
            f"https://assets.example.com:{source.port}/",
        ):
            with pytest.raises(AddressRefused):
                await archive.fetch_and_store(url, "0.bin", max_bytes=1000)

    assert source.connections == 0


async def test_unknown_host_is_reported_as_such(folder):
    async def names(host, port):
        return []

    async with open_archive(folder.as_uri(), resolver=names) as archive:
        with pytest.raises(NameNotFound):
            await archive.fetch_and_store("https://assets.example.com/", "0.bin", max_bytes=1000)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc/passwd",
        "../outside",
        "a/../../outside",
        "a/..",
        ".",
        "a/./b",
        "a//b",
        "a/",
        ".incoming/x",
        "a/.hidden",
        "-rf",
        "a\\b",
        "a b",
        "a\nb",
        "a\n",
        "a\x00b",
        "C:/x",
        "s3://bucket/x",
        "a%2e%2e/b",
        "\u00fc",
        "a*",
        "x" * 201,
        "a/" * 300 + "a",
    ],
)
async def test_unsafe_key_is_refused_before_anything_happens(archive, folder, key):
    async with Receiver() as source:
        with pytest.raises(KeyRefused):
            await archive.fetch_and_store(source.url(), key, max_bytes=1000)
        with pytest.raises(KeyRefused):
            await archive.store(b"x", key, content_type="x/y")

    assert source.connections == 0
    assert not folder.exists()


async def test_folder_that_takes_nothing_is_reported(tmp_path):
    (tmp_path / "file").write_text("in the way")

    async with open_archive((tmp_path / "file").as_uri()) as archive:
        with pytest.raises(ArchiveUnavailable) as unavailable:
            await archive.store(b"x", "0.bin", content_type="x/y")

    assert unavailable.value.retryable


async def test_key_below_a_file_is_reported_and_leaves_the_file(archive, folder):
    await archive.store(b"x", "a", content_type="x/y")

    with pytest.raises(ArchiveUnavailable):
        await archive.store(b"y", "a/b", content_type="x/y")

    assert _files(folder) == ["a"]


async def test_many_at_once_of_one_key_leave_one_whole_file(archive, folder):
    contents = [bytes([number]) * 100_000 for number in range(8)]
    async with asyncio.TaskGroup() as group:
        for content in contents:
            group.create_task(archive.store(content, "0.bin", content_type="x/y"))

    assert (folder / "0.bin").read_bytes() in contents
    assert _files(folder) == ["0.bin"]


async def test_files_are_readable_for_whom_the_umask_says(archive, folder):
    await archive.store(b"x", "0.bin", content_type="x/y")
    (folder / "compare").touch()

    assert (folder / "compare").stat().st_mode == (folder / "0.bin").stat().st_mode


async def test_store_of_objects_holds_the_same_promises(bucket):
    async with Receiver(answering(body=IMAGE, headers=PNG)) as source:
        first = await bucket.fetch_and_store(source.url(), "a/0.png", max_bytes=len(IMAGE))
        written = MemoryFileSystem.store["/bucket/prefix/a/0.png"]
        again = await bucket.fetch_and_store(source.url(), "a/0.png", max_bytes=len(IMAGE))

    assert first == again
    assert first.url == "s3://bucket/prefix/a/0.png"
    assert MemoryFileSystem.store["/bucket/prefix/a/0.png"] is written
    assert written.getvalue() == IMAGE
    assert list(MemoryFileSystem.store) == ["/bucket/prefix/a/0.png"]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "archive",
        "/archive",
        "http://example.com/",
        "ftp://example.com/",
        "memory://x",
        "file://archive",
        "file:archive",
        "file:///",
        "file:///a/../b",
        "file:///a?b",
        "s3://",
        "s3:///prefix",
        "s3://key:secret@bucket/",
    ],
)
def test_wrong_url_is_refused_by_the_name_of_its_setting(url):
    with pytest.raises(SettingsError) as wrong:
        open_archive(url)

    assert wrong.value.parameter == "RUNWARE_JOBS_ARCHIVE_URL"
    assert "secret" not in str(wrong.value)


def test_bucket_without_its_extra_names_the_extra():
    try:
        import s3fs  # noqa: F401  whether it is there is the case
    except ImportError:
        pass
    else:
        pytest.skip("the extra for S3 is installed")

    with pytest.raises(SettingsError, match=r"runware-jobs\[s3\]"):
        open_archive("s3://bucket/prefix")
