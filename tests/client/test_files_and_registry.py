"""Local files as parameters, and the registry of models."""

from __future__ import annotations

import base64
import json

import pytest

from runware_jobs.client import (
    RunwareError,
    bundled_registry,
    encode_local_files,
    file_to_base64,
    file_to_data_uri,
    resolve_task_type,
)

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 8


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(PNG)
    return path


def test_file_becomes_a_data_uri(picture):
    expected = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"

    assert file_to_data_uri(picture) == expected
    assert file_to_data_uri(PNG) == expected
    assert file_to_base64(picture) == file_to_base64(PNG) == expected.partition(",")[2]


def test_path_is_read_wherever_it_stands(picture):
    encoded = encode_local_files({"model": "x", "anything": [{"deep": picture}]})

    assert encoded["anything"][0]["deep"].startswith("data:image/png")


@pytest.mark.parametrize(
    "params",
    [
        {"seedImage": 0},
        {"referenceImages": [0]},
        {"inputs": {"video": [{"x": 0}]}},
        {"frameImages": [{"inputImage": 0}]},
    ],
)
def test_string_is_read_in_media_parameters(picture, params):
    with_path = json.loads(json.dumps(params).replace("0", json.dumps(str(picture))))

    assert "data:image/png" in json.dumps(encode_local_files(with_path))


def test_string_is_left_alone_everywhere_else(picture, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("s")
    params = {
        "positivePrompt": str(picture),
        "seedImage": str(secret),
        "maskImage": "https://x.example/photo.png",
        "guideImage": "no-such-file.png",
        "referenceImages": ["data:image/png;base64,AAAA", "A" * 100_000, "a\0.png"],
    }

    assert encode_local_files(params) == params


def test_path_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(RunwareError, match="seedImage") as raised:
        encode_local_files({"seedImage": tmp_path / "gone.png"})
    assert (raised.value.code, raised.value.parameter) == ("validation", "seedImage")


async def test_switched_off_encoding_leaves_strings_alone(open_client, http_platform, picture):
    client = open_client(encode_local_files=False)
    http_platform.script = None
    from runware_jobs.client.runs import prepare_task

    task = await prepare_task(client._parts, {"model": "runware:400@1", "seedImage": str(picture)})

    assert task["seedImage"] == str(picture)


def test_bundled_registry_knows_models_by_air_and_slug():
    registry = bundled_registry()

    assert len(registry.models) > 300
    assert registry.models["runware:400@1"].task_type == "imageInference"
    assert registry.air_of("bfl-flux-2-dev") == "runware:400@1"
    assert registry.air_of("my:own@1") == "my:own@1"


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"taskType": "upscale"}, "upscale"),
        ({"taskType": "upscale", "model": "runware:400@1"}, "upscale"),
        ({"model": "google:3@3"}, "videoInference"),
        ({"model": "bfl-flux-2-dev"}, "imageInference"),
    ],
)
def test_task_type_is_explicit_or_the_registrys(params, expected):
    assert resolve_task_type(params) == expected


@pytest.mark.parametrize("params", [{}, {"model": "nobody:1@1"}, {"model": 7}])
def test_task_type_that_cannot_be_known_names_the_remedy(params):
    with pytest.raises(RunwareError, match="taskType"):
        resolve_task_type(params)


async def test_new_model_is_looked_up_live_and_by_etag(open_client, http_platform, answer_with):
    live = {"version": "2", "models": {"new:1@1": {"taskType": "audioInference", "id": "new-one"}}}
    etags = []

    def answer(_):
        etags.append("if-none-match" in http_platform.heads[-1].lower())
        return answer_with(live, headers={"etag": '"v2"'}) if not etags[-1] else answer_with(b"", status=304)

    http_platform.script = answer
    registry = open_client()._parts.registry

    assert (
        resolve_task_type({"model": "new-one"}, await registry.for_params({"model": "new-one"}))
        == "audioInference"
    )
    await registry.refresh()
    assert "new:1@1" in (await registry.current()).models
    assert etags == [False, True]


async def test_service_that_is_away_leaves_the_bundle(open_client):
    registry = open_client(schemas_base_url="http://127.0.0.1:9")._parts.registry
    await registry.refresh()

    assert "runware:400@1" in (await registry.current()).models
