"""Files: drawn when fetched, always the same, and made from what was put in."""

from __future__ import annotations

import base64
import io
import time
from uuid import uuid4

import av
import httpx
import pytest
from PIL import Image, ImageChops, ImageStat

from runware_jobs.emulator import Config, create_app
from runware_jobs.emulator.pictures.plan import plan_picture
from runware_jobs.emulator.pictures.scene import draw_picture
from tests.emulator.conftest import SECONDS, Still, StubClock
from tests.emulator.media_samples import data_uri, picture, result_of, uploaded
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
    assert (stream.codec_context.name, frames[0].size, len(frames)) == ("h264", (640, 360), 12)
    assert ImageStat.Stat(ImageChops.difference(frames[0], frames[6])).sum[0] > 0


@pytest.mark.parametrize(
    ("file_format", "codec"), [("MP3", "mp3float"), ("WAV", "pcm_s16le"), ("FLAC", "flac"), ("OGG", "opus")]
)
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


async def drawn(still, **values):
    item = await result_of(still, **{**image(outputFormat="PNG"), **values})
    return Image.open(io.BytesIO((await fetched(still, item["imageURL"])).content)).convert("RGB")


def difference(first, second, box):
    return ImageStat.Stat(ImageChops.difference(first.crop(box), second.crop(box))).mean


async def test_an_upscale_enlarges_the_picture_given(still):
    source = Image.new("RGB", (96, 64), (200, 30, 30))

    item = await result_of(
        still,
        taskType="upscale",
        model="runware:504@1",
        inputs={"image": await uploaded(still, source)},
        upscaleFactor=4,
        outputFormat="PNG",
    )

    larger = Image.open(io.BytesIO((await fetched(still, item["imageURL"])).content))
    assert (larger.size, larger.getpixel((192, 128))) == ((384, 256), (200, 30, 30))


async def test_background_removal_cuts_the_subject_out(still):
    source = picture((300, 200))

    async def cut(**values):
        tool = {"taskType": "removeBackground", "model": "runware:109@1", "outputFormat": "PNG"}
        item = await result_of(still, **tool, inputs={"image": data_uri(source)}, **values)
        return Image.open(io.BytesIO((await fetched(still, item["imageURL"])).content))

    clear, coloured, mask = await cut(), await cut(rgba=[0, 255, 0, 255]), await cut(returnOnlyMask=True)

    assert clear.mode == "RGBA"
    assert [clear.getpixel(point)[3] for point in ((3, 3), (296, 196), (150, 100))] == [0, 0, 255]
    assert clear.getpixel((150, 60))[:3] == source.getpixel((150, 60))
    assert coloured.getpixel((3, 3)) == (0, 255, 0, 255)
    assert (mask.getpixel((3, 3)), mask.getpixel((150, 100))) == ((0, 0, 0), (255, 255, 255))


SIZE = {"width": 256, "height": 256, "seed": 5, "model": "civitai:133005@782002"}


async def test_a_seed_image_shows_through_the_more_the_less_strength_is_given(still):
    red = data_uri(Image.new("RGB", (64, 64), (255, 0, 0)))

    alone = await drawn(still, **SIZE)
    weak, strong = [await drawn(still, **SIZE, seedImage=red, strength=share) for share in (0.2, 0.9)]

    sky = (0, 0, 256, 100)
    assert 0 < sum(difference(alone, strong, sky)) < sum(difference(alone, weak, sky))


async def test_inpainting_changes_what_the_mask_covers_and_nothing_else(still):
    grey = Image.new("RGB", (256, 256), (128, 128, 128))
    mask = Image.new("RGB", (256, 256))
    mask.paste("white", (0, 0, 128, 256))

    made = await drawn(still, **SIZE, seedImage=data_uri(grey), maskImage=data_uri(mask))

    assert difference(made, grey, (140, 0, 256, 200)) == [0, 0, 0]
    assert sum(difference(made, grey, (0, 0, 110, 200))) > 20


async def test_outpainting_draws_around_the_picture(still):
    green = Image.new("RGB", (128, 128), (10, 200, 10))
    room = {"left": 64, "right": 64, "top": 64, "bottom": 64}

    made = await drawn(still, **SIZE, seedImage=data_uri(green), outpaint=room)

    assert made.getpixel((128, 128)) == (10, 200, 10)
    assert made.getpixel((10, 10)) != (10, 200, 10)


async def test_reference_images_are_pinned_into_the_picture(still):
    magenta = data_uri(Image.new("RGB", (64, 64), (255, 0, 255)))

    made = await drawn(still, **SIZE, referenceImages=[magenta, magenta])

    pinned = sum(count for count, colour in made.getcolors(1 << 16) if colour == (255, 0, 255))
    assert pinned > 2 * 30 * 30


async def test_the_time_to_live_is_counted_by_the_platforms_clock():
    clock = StubClock()
    app = create_app(Config(latencies=SECONDS, speed=60), clock=clock)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://emulator.test") as http:
        fast = Still(http, app.state.platform, clock, app.state.webhooks)
        item = await result_of_fast(fast, image(ttl=600, width=128, height=128))
        statuses = []
        for seconds in (9, 2):
            fast.pass_time(seconds)
            statuses.append((await http.get(item["imageURL"])).status_code)

    assert statuses == [200, 404]


async def result_of_fast(still, task):
    await still.send(task)
    still.pass_time(0.5)
    return (await still.poll(task["taskUUID"]))["data"][0]


@pytest.mark.parametrize(("file_format", "codec"), [("MP4", "h264"), ("MOV", "h264"), ("WEBM", "vp8")])
async def test_a_video_comes_in_the_container_asked_for(still, file_format, codec):
    item = (await finished(still, video(duration=2, width=256, height=144, outputFormat=file_format)))[0]
    response = await fetched(still, item["videoURL"])

    with av.open(io.BytesIO(response.content)) as container:
        frames = len(list(container.decode(container.streams.video[0])))
        name = container.streams.video[0].codec_context.name
    assert (codec, 24) == (name.removeprefix("lib"), frames)
    assert item["videoURL"].endswith(file_format.lower())


async def test_a_video_begins_with_the_frame_given(still):
    red = data_uri(Image.new("RGB", (256, 144), (255, 0, 0)))
    items = await finished(still, video(duration=2, width=256, height=144, inputs={"image": red}))

    body = (await fetched(still, items[0]["videoURL"])).content

    with av.open(io.BytesIO(body)) as container:
        frames = [frame.to_image() for frame in container.decode(container.streams.video[0])]
    first, middle = (ImageStat.Stat(frame).mean for frame in (frames[0], frames[12]))
    assert first[0] > 200 > middle[0]
    assert first[1] < 60


async def test_speech_lasts_as_long_as_it_takes_to_say_it(still):
    lengths = []
    for text in ("Hello world", "Hello world, " * 12):
        item = await result_of(
            still,
            taskType="audioInference",
            model="alibaba:qwen@3-tts-1.7b-voicedesign",
            positivePrompt="a calm voice",
            speech={"text": text, "voice": "design"},
        )
        with av.open(io.BytesIO((await fetched(still, item["audioURL"])).content)) as container:
            lengths.append(container.duration / 1e6)

    assert lengths == [pytest.approx(0.79, abs=0.1), pytest.approx(11.1, abs=0.2)]


async def test_uploads_are_served_and_deleted(still):
    task = {
        "taskType": "mediaStorage",
        "taskUUID": str(uuid4()),
        "operation": "upload",
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
