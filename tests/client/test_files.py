"""Local files as parameters: what is read, what never is, and how it is sent."""

from __future__ import annotations

import base64
import io
import json

import pytest
from PIL import Image

from runware_jobs.client import RunwareError, encode_local_files, file_to_base64, file_to_data_uri

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 8
ENCODED = base64.b64encode(PNG).decode()
DONE = {"status": "success", "imageUUID": "i", "imageURL": "https://x.example/i"}


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(PNG)
    return path


def filled(params, path):
    """Put the path where the case has a 0."""
    return json.loads(json.dumps(params).replace("0", json.dumps(str(path))))


# ---- the helpers ---------------------------------------------------------------------------------


def test_file_and_bytes_become_a_data_uri(picture):
    assert file_to_data_uri(picture) == f"data:image/png;base64,{ENCODED}"
    assert file_to_data_uri(str(picture)) == file_to_data_uri(PNG) == file_to_data_uri(picture)


def test_file_and_bytes_become_bare_base64(picture):
    assert file_to_base64(picture) == file_to_base64(str(picture)) == file_to_base64(PNG) == ENCODED


@pytest.mark.parametrize(("name", "media_type"), [("a.webp", "webp"), ("b.jpg", "jpeg"), ("c.gif", "gif")])
def test_type_comes_from_the_first_bytes_where_no_name_tells_it(name, media_type):
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, media_type)

    assert file_to_data_uri(content.getvalue()).startswith(f"data:image/{media_type};base64,")


def test_helper_says_which_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        file_to_base64(tmp_path / "gone.png")


# ---- what is encoded -----------------------------------------------------------------------------


def test_path_is_read_wherever_it_stands(picture):
    assert encode_local_files({"anything": [{"deep": (picture,)}]}) == {"anything": [{"deep": [ENCODED]}]}


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_are_encoded_wherever_they_stand(kind):
    assert encode_local_files({"anything": [{"deep": kind(PNG)}]}) == {"anything": [{"deep": ENCODED}]}


@pytest.mark.parametrize(
    "params",
    [
        {"seedImage": 0},
        {"maskImage": 0},
        {"guideImage": 0},
        {"inputImage": 0},
        {"inputImages": [0, 0]},
        {"referenceImages": [0]},
        {"referenceVideos": [0]},
        {"image": 0},
        {"media": 0},
        {"frameImages": [{"inputImage": 0, "frame": "first"}]},
        {"frameImages": [0]},
        {"controlNet": [{"model": "x", "guideImage": 0}]},
        {"ipAdapters": [{"guideImage": 0}]},
        {"inputs": {"image": 0}},
        {"inputs": {"video": [{"layers": {"x": 0}}]}},
    ],
)
def test_string_is_read_in_media_parameters_as_bare_base64(picture, params):
    expected = json.loads(json.dumps(params).replace("0", json.dumps(ENCODED)))

    assert encode_local_files(filled(params, picture)) == expected


@pytest.mark.parametrize(
    "params",
    [
        {"positivePrompt": 0},
        {"negativePrompt": 0},
        {"prompt": 0},
        {"messages": [{"role": "user", "content": 0}]},
        {"model": 0},
        {"speech": {"text": 0}},
        {"inputs": {"prompt": 0}},
        {"frameImages": [{"positivePrompt": 0}]},
        {"webhookURL": 0},
    ],
)
def test_prompt_that_names_a_file_is_never_read(picture, params):
    assert encode_local_files(filled(params, picture)) == filled(params, picture)


def test_string_is_left_alone_unless_it_names_an_existing_media_file(picture, tmp_path):
    secret = tmp_path / "id_rsa"
    secret.write_text("s")
    text = tmp_path / "notes.txt"
    text.write_text("s")
    folder = tmp_path / "folder.png"
    folder.mkdir()
    params = {
        "seedImage": str(secret),
        "inputImage": str(text),
        "image": str(folder),
        "maskImage": "https://x.example/photo.png",
        "guideImage": "no-such-file.png",
        "media": "2b1f3a52-2a53-4b4c-9a13-0c4b3a6c7d11",
        "referenceImages": ["data:image/png;base64,AAAA", "A" * 100_000, "a\0.png"],
    }

    assert encode_local_files(params) == params


def test_path_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(RunwareError, match="seedImage") as raised:
        encode_local_files({"inputs": {"seedImage": tmp_path / "gone.png"}})
    assert (raised.value.code, raised.value.parameter) == ("validation", "inputs.seedImage")


# ---- on the wire ---------------------------------------------------------------------------------


@pytest.mark.parametrize("as_path", [True, False])
async def test_run_sends_local_files_and_no_prompt(platform, picture, as_path):
    platform.answers({"data": [DONE]})
    source = picture if as_path else str(picture)
    await platform.client().run(
        {
            "taskType": "imageInference",
            "model": "a:b@1",
            "positivePrompt": str(picture),
            "seedImage": source,
            "referenceImages": [source, "https://x.example/1.png"],
        }
    )

    assert platform.sent[0]["seedImage"] == ENCODED
    assert platform.sent[0]["referenceImages"] == [ENCODED, "https://x.example/1.png"]
    assert platform.sent[0]["positivePrompt"] == str(picture)


async def test_uploads_send_local_files_and_bytes(platform, picture):
    platform.answers({"data": [{"imageUUID": "i"}]})
    client = platform.client()
    await client.image_upload({"image": str(picture)})
    await client.media_storage({"media": picture})
    await client.media_storage({"media": PNG})

    assert [task.get("image") or task.get("media") for task in platform.sent] == [ENCODED] * 3


async def test_switched_off_no_string_is_read_and_a_path_is_refused_with_the_remedy(platform, picture):
    platform.answers({"data": [DONE]})
    client = platform.client(encode_local_files=False)
    await client.run({"taskType": "upscale", "inputImage": str(picture)})

    assert platform.sent[0]["inputImage"] == str(picture)
    for source in (picture, PNG):
        with pytest.raises(RunwareError, match="encode_local_files") as raised:
            await client.run({"taskType": "upscale", "inputImage": source})
        assert raised.value.code == "validation"
    assert len(platform.sent) == 1
