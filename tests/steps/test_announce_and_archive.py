"""Links and copies: told once each, repeated after a failure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from runware_jobs.archive import open_archive
from runware_jobs.steps.announce import announce
from runware_jobs.steps.archive import archive, output_url
from runware_jobs.steps.cancel import cancel
from runware_jobs.steps.submit import submit
from runware_jobs.store.jobs import read_jobs
from tests.steps.conftest import follow
from tests.steps.test_submit_and_poll import added
from tests.support.queued import enqueue_jobs
from tests.support.rows import change_rows, read_rows

LINK, SORRY = {"task": "app.tell", "args": [1]}, {"task": "app.sorry"}


async def outbox_of(engine):
    async with engine.connect() as connection:
        return [row["sink"] for row in await read_rows(connection, "SELECT sink FROM outbox")]


async def announce_all(context):
    while await announce(context):
        pass


@pytest.mark.parametrize(
    ("label", "ends", "published"),
    [("it succeeds", True, LINK), ("it is canceled", False, SORRY)],
)
async def test_link_is_published_when_its_job_has_ended(
    engine, emulator, workers, heard, label, ends, published
):
    async with workers() as context:
        [job_id] = await added(engine, link=LINK, link_error=SORRY)
        if ends:
            await follow(context, (await submit(context)).watches)
        else:
            async with engine.begin() as connection:
                await cancel(connection, job_id, tenant=None)
        await announce_all(context)
        await announce_all(context)

    assert [published] == [link for link, _ in heard.links]
    assert await outbox_of(engine) == []


async def test_link_that_the_broker_did_not_take_stays(engine, emulator, workers, heard):
    def away(*_):
        raise ConnectionError("no broker")

    async with workers() as context:
        [job_id] = await added(engine, link_error=SORRY)
        async with engine.begin() as connection:
            await cancel(connection, job_id, tenant=None)
        await announce(replace(context, publish_link=away))
        kept = await outbox_of(engine)
        async with engine.begin() as connection:
            await change_rows(connection, "UPDATE outbox SET due_at = now()")
        await announce_all(context)

    assert kept == ["link"]
    assert len(heard.links) == 1


async def test_outputs_are_copied_and_shown_with_the_job(engine, emulator, workers, tmp_path):
    async with (
        open_archive(tmp_path.as_uri(), allow_private=True) as place,
        workers(archive=place) as context,
    ):
        [job_id] = await added(engine, params={"numberResults": 2, "width": 256, "height": 256})
        await follow(context, (await submit(context)).watches)
        while await archive(context):
            pass
        async with engine.connect() as connection:
            row = (await read_jobs(connection, [job_id]))[job_id]
    copies = [Path(urlsplit(entry["archived_url"]).path) for entry in row["results"]]

    assert len(set(copies)) == 2
    assert all(copy.stat().st_size > 100 for copy in copies)
    assert await outbox_of(engine) == []


async def test_copy_that_fails_is_tried_again_later(engine, emulator, workers, tmp_path):
    async with (
        open_archive(tmp_path.as_uri(), allow_private=False) as place,
        workers(archive=place) as context,
    ):
        await added(engine)
        await follow(context, (await submit(context)).watches)
        await archive(context)
        async with engine.connect() as connection:
            rows = await read_rows(connection, "SELECT attempts, is_dead FROM outbox WHERE sink = 'archive'")

    assert [row["attempts"] for row in rows] == [1]


async def test_nothing_is_copied_without_an_archive(engine, emulator, workers):
    async with workers() as context:
        async with engine.begin() as connection:
            await enqueue_jobs(connection)

        assert await archive(context) == 0


@pytest.mark.parametrize(
    ("label", "item", "url"),
    [
        ("an image", {"imageUUID": "a", "imageURL": "https://im/a"}, "https://im/a"),
        ("a file of a model", {"outputs": {"files": [{"url": "https://im/b"}]}}, "https://im/b"),
        ("a trained file", {"outputs": {"files": [{"fileURL": "https://im/c"}]}}, "https://im/c"),
        ("text", {"text": "hi"}, None),
        ("nothing", {}, None),
    ],
)
def test_output_is_found_by_table(label, item, url):
    assert url == output_url(item)
