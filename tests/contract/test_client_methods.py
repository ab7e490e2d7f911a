"""The methods of the JS SDK and the utilities on both transports, against the emulator, as seed 003 calls them."""

from __future__ import annotations

import asyncio
import io
import uuid

import httpx
import pytest
from PIL import Image

from runware_jobs.client import RunOptions, Runware, RunwareError

pytestmark = pytest.mark.slow

IMAGE = {"model": "runware:400@1", "positivePrompt": "a lighthouse", "width": 512, "height": 512}
UPLOAD = {
    "air": "acme:style@1",
    "name": "style",
    "uniqueIdentifier": "a" * 64,
    "version": "1.0",
    "format": "safetensors",
    "architecture": "sdxl",
    "private": True,
}


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "photo.png"
    Image.new("RGB", (96, 64), "teal").save(path)
    return path


def picture_bytes():
    content = io.BytesIO()
    Image.new("RGB", (64, 64), "olive").save(content, "PNG")
    return content.getvalue()


async def test_images_come_as_a_list_and_are_told_as_they_finish(client):
    frames = []
    images = await client.image_inference(
        {**IMAGE, "numberResults": 3, "includeCost": True},
        on_partial_images=lambda images, error: frames.append((len(images), error)),
    )

    assert len({image["imageUUID"] for image in images}) == 3
    assert all(image["cost"] > 0 for image in images)
    assert sum(number for number, _ in frames) == 3
    assert {error for _, error in frames} == {None}


async def test_parallel_requests_each_get_their_own(client):
    first, second = await asyncio.gather(
        client.request_images({**IMAGE, "numberResults": 2}), client.request_images(IMAGE)
    )

    assert (len(first), len(second)) == (2, 1)
    assert {image["taskUUID"] for image in first}.isdisjoint(image["taskUUID"] for image in second)


@pytest.mark.parametrize(
    ("method", "params", "field"),
    [
        ("caption", {}, "text"),
        ("remove_background", {"outputFormat": "PNG", "rgba": [255, 255, 255, 0]}, "imageURL"),
        ("upscale", {"upscaleFactor": 2}, "imageURL"),
        ("controlnet_preprocess", {"preProcessorType": "canny", "lowThresholdCanny": 50}, "guideImageURL"),
    ],
)
async def test_tool_without_a_model_takes_a_local_file_and_gives_one_dict(
    client, picture, method, params, field
):
    result = await getattr(client, method)({**params, "inputImage": str(picture)})

    assert result[field]
    assert result["taskUUID"]


async def test_prompt_is_enhanced_without_a_model(client):
    one = await client.prompt_enhance(prompt="a cat on a sofa", promptMaxLength=64)
    two = await client.enhance_prompt({"prompt": "a cat on a sofa", "promptVersions": 2})

    assert one["text"]
    assert len([version["text"] for version in two]) == 2


async def test_video_audio_text_and_3d(client):
    video = await client.video_inference(
        model="google:3@3", positivePrompt="ocean waves", width=1280, height=720, duration=8
    )
    audio = await client.audio_inference(
        {
            "model": "elevenlabs:1@1",
            "positivePrompt": "hip hop",
            "duration": 10,
            "numberResults": 2,
            "includeCost": True,
            "audioSettings": {"bitrate": 128, "sampleRate": 44100},
        }
    )
    shape = await client.three_d_inference(model="tripo:v3.1@0", positivePrompt="a teapot")
    text = await client.text_inference(
        model="google:gemma@4-31b", messages=[{"role": "user", "content": "hello"}]
    )

    assert video["videoURL"]
    assert shape["outputs"]["files"]
    assert [item["cost"] > 0 for item in audio] == [True, True]
    assert text["text"]


async def test_photo_maker_masking_and_vectorize(client, picture):
    drawing = await client.vectorize({"model": "recraft:1@1", "inputs": {"image": picture}})
    photos = await client.photo_maker(
        {
            "positivePrompt": "img of a man in a suit",
            "height": 512,
            "width": 512,
            "numberResults": 2,
            "inputImages": [picture],
            "style": "Comic book",
        }
    )
    mask = await client.image_masking(
        {"model": "runware:35@1", "inputImage": str(picture), "confidence": 0.3}
    )

    assert drawing["imageURL"].endswith(".svg")
    assert len(photos) == 2
    assert mask["maskImageURL"]
    assert mask["detections"]


async def test_training_gives_the_air_of_the_new_model(client, emulator_url):
    quick = {"latencies": {"training": [60, 60]}}
    httpx.post(f"{emulator_url}/_emulator/config", json=quick).raise_for_status()
    trained = await client.training(
        {
            "model": "exactly:illustrative@training",
            "inputs": {"dataset": "https://data.example/pictures.zip"},
            "importModel": {"air": f"acme:s{uuid.uuid4().hex[:8]}@1", "name": "mine"},
        }
    )

    assert trained["air"].startswith("acme:s")


@pytest.mark.parametrize(
    "variant",
    [
        {"category": "controlnet", "conditioning": "canny"},
        {"category": "checkpoint", "defaultCFGScale": 7, "defaultSteps": 20, "type": "base"},
        {"category": "lora", "defaultWeight": 0.9, "positiveTriggerWords": "ink style"},
    ],
    ids=lambda variant: variant["category"],
)
async def test_each_variant_of_a_model_upload_ends_ready(client, variant):
    heard = []
    answer = await client.model_upload(
        {**UPLOAD, **variant, "downloadUrl": "https://models.example/style.safetensors"},
        on_upload_stream=lambda phase, error: heard.append((phase["status"], error)),
    )

    assert [phase["status"] for phase in answer] == ["ready"]
    assert heard[-1] == ("ready", None)


async def test_bytes_can_be_uploaded_and_used(client):
    stored = (await client.media_storage(media=picture_bytes()))[0]
    result = await client.upscale({"inputImage": stored["mediaUUID"], "upscaleFactor": 2})

    assert result["imageURL"]


async def test_skipped_response_is_fetched_later(client):
    (ack,) = await client.image_inference(IMAGE, skip_response=True)
    results = []
    async with asyncio.timeout(20):
        while not any(item.get("status") == "success" for item in results):
            results = await client.get_response({"taskUUID": ack["taskUUID"]})

    assert results[0]["imageUUID"]


async def test_refused_request_raises_without_on_result(client):
    heard = []

    with pytest.raises(RunwareError) as raised:
        await client.image_inference({**IMAGE, "width": 7}, RunOptions(on_result=heard.append))
    assert (raised.value.code, heard) == ("validation", [])


async def test_initialize_speaks_to_the_one_url_it_was_given(options, emulator_url):
    client = await Runware.initialize(
        {"apiKey": "contract-key", "url": options["ws_base_url"], "globalMaxRetries": 2},
        schemas_base_url=options["schemas_base_url"],
        transport=options["transport"],
    )
    images = await client.image_inference(IMAGE)
    await client.disconnect()

    assert images[0]["imageURL"].startswith(emulator_url)
