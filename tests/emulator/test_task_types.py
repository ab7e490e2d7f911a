"""Every task type, and every curated model: a request that its schema takes gets a result of its schema."""

from __future__ import annotations

import io
import json
import struct
from uuid import uuid4

import av
import pytest
from jsonschema import Draft202012Validator
from PIL import Image

from runware_jobs.emulator.models.catalogue import Catalogue
from runware_jobs.emulator.models.samples import sample_request
from runware_jobs.emulator.rules.bundle import read_bundle
from tests.emulator.media_samples import data_uri, finished, picture, result_of, uploaded

BUNDLE = read_bundle()
MODELS = {
    task_type: [model for model in Catalogue().curated() if model.task_type == task_type]
    for task_type in sorted({model.task_type for model in Catalogue().curated()})
}


@pytest.mark.parametrize("task_type", MODELS)
async def test_each_curated_model_answers_as_its_schema_says(still, task_type):
    tasks = []
    for model in MODELS[task_type]:
        schema = BUNDLE.models[model.air]["requestSchema"]
        task = sample_request(model, BUNDLE.models[model.air], str(uuid4()))
        if "includeUsage" in schema["properties"]:
            task["includeUsage"] = True
        if "deliveryMethod" in schema["properties"]:
            task["deliveryMethod"] = "async"
        tasks.append(task)

    answer = (await still.send(*tasks)).json()
    still.pass_time(8000)
    items = (await still.poll(*(task["taskUUID"] for task in tasks)))["data"]

    assert answer.get("errors") is None
    assert {task["taskUUID"] for task in tasks} == {item["taskUUID"] for item in items}
    models = {task["taskUUID"]: task["model"] for task in tasks}
    for item in items:
        schema = BUNDLE.models[models[item["taskUUID"]]]["responseSchema"]
        assert list(Draft202012Validator(schema).iter_errors(item)) == []
        unknown = set(item) - set(schema["properties"]) - {"status"}
        assert unknown == set(), models[item["taskUUID"]]


async def test_an_image_of_many_output_types_has_each(still):
    item = await result_of(
        still,
        taskType="imageInference",
        model="runware:400@1",
        positivePrompt="waves",
        width=128,
        height=128,
        outputType=["URL", "base64Data", "dataURI"],
    )

    assert {"imageURL", "imageBase64Data", "imageDataURI"} <= set(item)


async def test_masking_finds_boxes_inside_the_picture(still):
    item = await result_of(
        still,
        taskType="imageMasking",
        model="runware:35@10",
        inputs={"image": data_uri(picture((300, 200)))},
        outputFormat="PNG",
    )

    mask = Image.open(io.BytesIO((await still.http.get(item["maskImageURL"])).content)).convert("L")
    assert len(item["detections"]) == 2
    for box in item["detections"]:
        assert 0 <= box["x_min"] < box["x_max"] <= 300
        assert 0 <= box["y_min"] < box["y_max"] <= 200
        centre = ((box["x_min"] + box["x_max"]) // 2, (box["y_min"] + box["y_max"]) // 2)
        assert mask.getpixel(centre) > 128
    assert mask.size == (300, 200)
    assert mask.getpixel((0, 199)) == 0


@pytest.mark.parametrize("model", [model.air for model in MODELS["controlNetPreprocess"]])
async def test_each_preprocessor_makes_its_own_guide_of_the_picture(still, model):
    source = picture((160, 120))

    async def guide(name):
        item = await result_of(
            still,
            taskType="controlNetPreprocess",
            model=name,
            inputs={"image": data_uri(source)},
            outputFormat="PNG",
        )
        return Image.open(io.BytesIO((await still.http.get(item["guideImageURL"])).content)).convert("RGB")

    made = await guide(model)
    other = await guide(
        "runware:controlnet-preprocess@depth"
        if "depth" not in model
        else "runware:controlnet-preprocess@canny"
    )

    assert made.size == (160, 120)
    assert made.tobytes() != source.convert("RGB").tobytes()
    assert made.tobytes() != other.tobytes()


async def test_canny_draws_edges_where_the_picture_has_them(still):
    source = Image.new("RGB", (128, 128), "white")
    source.paste("black", (32, 32, 96, 96))

    item = await result_of(
        still,
        taskType="controlNetPreprocess",
        model="runware:controlnet-preprocess@canny",
        inputs={"image": data_uri(source)},
        outputFormat="PNG",
    )

    edges = Image.open(io.BytesIO((await still.http.get(item["guideImageURL"])).content)).convert("L")
    assert edges.getpixel((64, 64)) == 0
    assert edges.getpixel((10, 10)) == 0
    assert max(edges.getpixel((x, 64)) for x in range(29, 36)) == 255


@pytest.mark.parametrize("source", ["picture", "prompt"])
async def test_vectorize_answers_svg(still, source):
    given = {"positivePrompt": "a red sailboat"}
    if source == "picture":
        red = Image.new("RGB", (200, 100), (250, 250, 250))
        red.paste((200, 30, 30), (50, 20, 150, 80))
        given = {"inputs": {"image": data_uri(red)}}
    model = "recraft:1@1" if source == "picture" else "recraft:v4@vector"

    item = (
        await result_of(still, taskType="vectorize", model=model, width=1024, height=1024, **given)
        if (source == "prompt")
        else await result_of(still, taskType="vectorize", model=model, **given)
    )
    response = await still.http.get(item["imageURL"])

    assert response.headers["content-type"] == "image/svg+xml"
    assert response.text.startswith("<svg")
    assert response.text.count("<path") >= 2
    if source == "picture":
        assert 'width="200" height="100"' in response.text
        assert "#c81e1e" in response.text


async def test_a_3d_model_carries_its_picture(still):
    await still.configure(latencies={"3d": 1})
    item = await result_of(
        still,
        taskType="3dInference",
        model="meshy:meshy@6",
        inputs={"images": [data_uri(picture((64, 64)))]},
    )

    body = (await still.http.get(item["outputs"]["files"][0]["url"])).content

    document, data = glb(body)
    view = document["bufferViews"][document["images"][0]["bufferView"]]
    texture = Image.open(io.BytesIO(data[view["byteOffset"] :][: view["byteLength"]]))
    assert texture.format == "JPEG"
    accessors = document["accessors"]
    indices = struct.unpack_from(f"<{accessors[0]['count']}H", data)
    assert max(indices) < accessors[1]["count"]
    assert document["buffers"][0]["byteLength"] == len(data)
    for one in document["bufferViews"]:
        assert one["byteOffset"] % 4 == 0
        assert one["byteOffset"] + one["byteLength"] <= len(data)


def glb(body):
    magic, version, length = struct.unpack_from("<4sII", body)
    assert (magic, version, length) == (b"glTF", 2, len(body))
    size, sort = struct.unpack_from("<I4s", body, 12)
    assert sort == b"JSON"
    document = json.loads(body[20 : 20 + size])
    data_size, data_sort = struct.unpack_from("<I4s", body, 20 + size)
    assert data_sort == b"BIN\0"
    data = body[28 + size :]
    assert len(data) == data_size
    return document, data


async def test_prompts_are_enhanced_in_as_many_versions_and_no_longer_than_asked(still):
    items = await finished(
        still,
        taskType="promptEnhance",
        model="runware:llama-3-1-8b@prompt-enhancer",
        prompt="a quiet harbour",
        promptVersions=4,
        promptMaxLength=40,
    )

    texts = [item["text"] for item in items]
    assert len(texts) == 4
    assert all(text.startswith("a quiet harbour") and len(text) <= 40 for text in texts)


async def test_a_classifier_answers_data_and_a_captioner_text(still):
    inputs = {"image": data_uri(picture())}

    ages = await result_of(still, taskType="caption", model="runware:153@1", inputs=inputs)
    words = await result_of(still, taskType="caption", model="runware:150@2", inputs=inputs)

    assert "text" not in ages
    assert ages["structuredData"]["label"] in ages["structuredData"]["scores"]
    assert words["text"].endswith(".")


async def test_the_caption_of_our_own_picture_says_what_it_was_drawn_from(still):
    drawn = await result_of(
        still,
        taskType="imageInference",
        model="runware:400@1",
        positivePrompt="a yellow submarine",
        width=128,
        height=128,
    )

    caption = await result_of(
        still, taskType="caption", model="runware:150@2", inputs={"image": drawn["imageUUID"]}
    )

    assert caption["text"].startswith("a yellow submarine")


async def test_a_film_is_captioned_in_segments_of_six_seconds(still):
    film = await result_of(
        still,
        taskType="videoInference",
        model="klingai:5@3",
        positivePrompt="waves",
        duration=8,
        width=128,
        height=128,
    )

    item = await result_of(
        still, taskType="caption", model="memories:1@1", inputs={"video": film["videoUUID"]}
    )

    lines = item["text"].split("\n")
    assert [line[:15] for line in lines] == ["[00:00 - 00:06]", "[00:06 - 00:08]"]


@pytest.mark.parametrize(
    ("task_type", "model", "size"),
    [("upscale", "bytedance:50@1", (256, 256)), ("removeBackground", "bria:51@1", (128, 128))],
)
async def test_tools_given_a_film_answer_a_film(still, task_type, model, size):
    film = await result_of(
        still,
        taskType="videoInference",
        model="klingai:5@3",
        positivePrompt="waves",
        duration=1,
        width=128,
        height=128,
    )

    item = await result_of(still, taskType=task_type, model=model, inputs={"video": film["videoUUID"]})
    body = (await still.http.get(item["videoURL"])).content

    with av.open(io.BytesIO(body)) as container:
        frames = [frame.to_image() for frame in container.decode(container.streams.video[0])]
    assert "imageURL" not in item
    assert (size, 12) == (frames[0].size, len(frames))


async def test_the_file_tool_puts_a_film_into_another_container(still):
    film = await result_of(
        still,
        taskType="videoInference",
        model="klingai:5@3",
        positivePrompt="waves",
        duration=1,
        width=128,
        height=128,
    )

    item = await result_of(
        still,
        taskType="tools",
        model="runware:ffmpeg@0",
        inputs={"video": film["videoUUID"]},
        outputFormat="WEBM",
    )
    file = item["outputs"]["files"][0]
    response = await still.http.get(file["url"])

    assert set(file) == {"uuid", "url"}
    assert response.headers["content-type"] == "video/webm"
    with av.open(io.BytesIO(response.content)) as container:
        assert len(list(container.decode(container.streams.video[0]))) == 12


async def test_text_stops_at_the_tokens_allowed_and_counts_them(still):
    messages = [{"role": "user", "content": "Explain gravity"}]

    item = await result_of(
        still,
        taskType="textInference",
        model="minimax:m3@0",
        messages=messages,
        settings={"maxTokens": 5},
        includeUsage=True,
    )

    assert item["finishReason"] == "length"
    assert item["usage"]["completionTokens"] == 5
    assert item["usage"]["thinkingTokens"] > 0
    assert "gravity" in item["reasoningContent"].lower()
    assert item["usage"]["totalTokens"] == sum(
        item["usage"][name] for name in ("promptTokens", "completionTokens", "thinkingTokens")
    )


async def test_usage_is_told_when_asked_for(still):
    item = await result_of(
        still,
        taskType="textInference",
        model="google:gemma@4-31b",
        messages=[{"role": "user", "content": "Hi there"}],
    )

    assert "usage" not in item
    assert item["finishReason"] == "stop"


async def test_a_training_shows_progress_and_its_model_can_then_be_used(still):
    task = {
        "taskType": "training",
        "taskUUID": str(uuid4()),
        "model": "runware:flux-1-dev@style-lora-training",
        "inputs": {"dataset": "https://files.example/set.zip"},
        "importModel": {"air": "acme:ink@1", "name": "Ink"},
        "triggerWord": "inkwash",
    }
    await still.send(task)
    still.pass_time(3600)
    half = (await still.poll(task["taskUUID"]))["data"][0]
    still.pass_time(3600)
    done = (await still.poll(task["taskUUID"]))["data"][0]

    drawn = await result_of(
        still,
        taskType="imageInference",
        model="acme:ink@1",
        positivePrompt="inkwash hills",
        width=128,
        height=128,
    )
    search = {"taskType": "modelSearch", "taskUUID": str(uuid4()), "visibility": "owned"}
    found = (await still.send(search)).json()["data"][0]["results"]

    assert (half["status"], half["progress"]) == ("processing", 50)
    assert (done["status"], done["air"]) == ("success", "acme:ink@1")
    assert (await still.http.get(done["outputs"]["files"][0]["url"])).content[:2] == b"PK"
    assert drawn["imageURL"]
    assert [(one["air"], one["positiveTriggerWords"]) for one in found] == [("acme:ink@1", "inkwash")]


@pytest.mark.parametrize(
    "task_type", ["imageUpscale", "upscaleImage", "imageBackgroundRemoval", "removeImageBackground"]
)
async def test_older_names_answer_under_the_name_they_were_called_by(still, task_type):
    item = await result_of(still, taskType=task_type, inputImage=await uploaded(still, picture((64, 64))))

    assert item["taskType"] == task_type
    assert item["imageURL"]


async def test_photomaker_shows_the_faces_it_was_given(still):
    red = Image.new("RGB", (64, 64), (255, 0, 0))
    item = await result_of(
        still,
        taskType="photoMaker",
        positivePrompt="img in a garden",
        inputImages=[data_uri(red)],
        style="No style",
        width=512,
        height=512,
        outputFormat="PNG",
    )

    drawn = Image.open(io.BytesIO((await still.http.get(item["imageURL"])).content)).convert("RGB")
    colours = {colour for _, colour in drawn.getcolors(1 << 20)}
    assert (255, 0, 0) in colours
