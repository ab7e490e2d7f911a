"""Files: drawn when fetched, always the same, and made from what was put in."""

from __future__ import annotations

import base64
import io
import time
from uuid import uuid4

import av
import pytest
from PIL import Image, ImageChops, ImageStat

from runware_jobs.emulator.pictures.plan import plan_picture
from runware_jobs.emulator.pictures.scene import draw_picture
from tests.emulator.sample_tasks import image, video


async def finished(still, task):
    await still.send(task)
    still.pass_time(30)
    return (await still.poll(task["taskUUID"]))["data"]


async def fetched(still, url):
    response = await still.http.get(url)
    assert response.status_code == 200, response.text
    return response


@pytest.mark.parametrize(("file_format", "pillow"), [("JPG", "JPEG"), ("PNG", "PNG"), ("WEBP", "WEBP")])
async def test_an_image_has_the_size_and_format_asked_for(still, file_format, pillow):
    items = await finished(still, image(width=640, height=384, outputFormat=file_format))

    response = await fetched(still, items[0]["imageURL"])

    picture = Image.open(io.BytesIO(response.content))
    assert (pillow, (640, 384)) == (picture.format, picture.size)
    assert response.headers["content-type"] == Image.MIME[pillow]


async def test_the_same_prompt_and_seed_give_the_same_bytes(still):
    first, second, other = [
        (await finished(still, image(seed=seed, width=256, height=256)))[0] for seed in (7, 7, 8)
    ]

    bodies = [(await fetched(still, item["imageURL"])).content for item in (first, second, other)]

    assert bodies[0] == bodies[1]
    assert bodies[0] != bodies[2]


async def test_nothing_is_drawn_before_somebody_asks(still, monkeypatch):
    started = time.process_time()
    items = await finished(still, image(numberResults=20, width=2048, height=2048))

    assert len(items) == 20
    assert time.process_time() - started < 1.0


async def test_a_file_is_gone_after_its_ttl_and_absent_before_it_exists(still):
    task = image(ttl=60, width=256, height=256)
    await still.send(task)
    url = f"/assets/image/{still.platform.tasks[task['taskUUID']].item_uuid(0)}.jpg"

    statuses = []
    for seconds in (0, 2, 61):
        still.pass_time(seconds)
        statuses.append((await still.http.get(url)).status_code)

    assert statuses == [404, 200, 404]


async def test_inline_outputs_carry_the_file(still):
    url = (await finished(still, image(seed=3, width=256, height=256)))[0]["imageURL"]
    inline = (await finished(still, image(seed=3, width=256, height=256, outputType="base64Data")))[0]
    uri = (await finished(still, image(seed=3, width=256, height=256, outputType="dataURI")))[0]

    body = (await fetched(still, url)).content
    assert base64.b64decode(inline["imageBase64Data"]) == body
    assert uri["imageDataURI"] == "data:image/jpeg;base64," + base64.b64encode(body).decode()


async def test_a_video_plays(still):
    items = await finished(still, video(duration=1, width=640, height=360))

    body = (await fetched(still, items[0]["videoURL"])).content

    with av.open(io.BytesIO(body)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_image() for frame in container.decode(stream)]
    assert (stream.codec_context.name, frames[0].size, len(frames)) == ("h264", (480, 270), 12)
    assert ImageStat.Stat(ImageChops.difference(frames[0], frames[6])).sum[0] > 0


@pytest.mark.parametrize(("file_format", "codec"), [("MP3", "mp3float"), ("WAV", "pcm_s16le")])
async def test_audio_plays(still, file_format, codec):
    task = {"taskType": "audioInference", "taskUUID": str(uuid4()), "model": "elevenlabs:1@1", "duration": 2}
    task |= {"positivePrompt": "calm waves", "outputFormat": file_format, "deliveryMethod": "async"}
    items = await finished(still, task)

    body = (await fetched(still, items[0]["audioURL"])).content

    with av.open(io.BytesIO(body)) as container:
        assert container.streams.audio[0].codec_context.name == codec
        assert 1.9 < container.duration / 1e6 < 2.2


async def test_a_3d_model_is_binary_gltf(still):
    task = {
        "taskType": "3dInference",
        "taskUUID": str(uuid4()),
        "model": "tripo:1@1",
        "positivePrompt": "a box",
    }
    await still.configure(latencies={"3d": 1})
    items = await finished(still, {**task, "deliveryMethod": "async"})

    body = (await fetched(still, items[0]["outputs"]["files"][0]["url"])).content

    assert body[:4] == b"glTF"
    assert int.from_bytes(body[8:12], "little") == len(body)


async def test_tools_work_on_what_was_uploaded(still):
    source = io.BytesIO()
    Image.new("RGB", (96, 64), (200, 30, 30)).save(source, "PNG")
    upload = {"taskType": "mediaStorage", "taskUUID": str(uuid4()), "operation": "upload"}
    upload["media"] = base64.b64encode(source.getvalue()).decode()
    stored = (await still.send(upload)).json()["data"][0]
    tool = {"model": "acme:tool@1", "inputs": {"image": stored["mediaUUID"]}, "deliveryMethod": "async"}

    larger = {"taskType": "upscale", "taskUUID": str(uuid4()), "outputFormat": "PNG", **tool}
    cut = {"taskType": "removeBackground", "taskUUID": str(uuid4()), "outputFormat": "PNG", **tool}
    pictures = [
        Image.open(io.BytesIO((await fetched(still, (await finished(still, task))[0]["imageURL"])).content))
        for task in (larger, cut)
    ]

    assert pictures[0].size == (192, 128)
    assert pictures[0].getpixel((96, 64)) == (200, 30, 30)
    assert (pictures[1].getpixel((0, 0))[3], pictures[1].getpixel((48, 32))[3]) == (0, 255)


async def test_uploads_are_served_and_deleted(still):
    task = {
        "taskType": "mediaStorage",
        "taskUUID": str(uuid4()),
        "media": base64.b64encode(b"glTF-model").decode(),
    }
    stored = (await still.send(task)).json()["data"][0]
    served = await fetched(still, stored["mediaURL"])

    delete = {"taskType": "mediaStorage", "taskUUID": str(uuid4()), "operation": "delete"}
    await still.send({**delete, "media": stored["mediaUUID"]})

    assert (served.content, served.headers["content-type"]) == (b"glTF-model", "model/gltf-binary")
    assert (await still.http.get(stored["mediaURL"])).status_code == 404


@pytest.mark.parametrize(
    ("prompt", "element"),
    [
        ("A Lighthouse!", "lighthouse"),
        ("two cats", "cat"),
        ("Tokyo streets", "city"),
        ("sand dunes", "desert"),
    ],
)
def test_words_of_the_prompt_are_in_the_plan(prompt, element):
    assert plan_picture(prompt, 1).has(element)


@pytest.mark.parametrize("prompt", ["", "    ", "日本の海", "x" * 9000, "\n\0 odd ☃"])
def test_any_prompt_gives_a_picture(prompt):
    assert draw_picture(prompt, 1, (128, 2048)).size == (128, 2048)
