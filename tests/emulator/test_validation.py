"""Requests are held against the bundled schemas: what is refused, with which code, and how strictly."""

from __future__ import annotations

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from runware_jobs.emulator.models.catalogue import Catalogue
from runware_jobs.emulator.models.samples import sample_request
from runware_jobs.emulator.rules.bundle import read_bundle
from runware_jobs.emulator.rules.shapes import look_for
from tests.emulator.sample_tasks import image, training, video

BUNDLE = read_bundle()


async def refusal(still, task):
    response = await still.send(task)
    errors = response.json().get("errors")
    assert errors, response.json()
    assert response.status_code == (404 if errors[0]["code"].endswith("NotFound") else 400)
    assert errors[0]["taskUUID"] == task["taskUUID"]
    return errors[0]["code"], errors[0].get("parameter")


def task_of(task_type, model, **values):
    return {"taskType": task_type, "taskUUID": str(uuid4()), "model": model, **values}


@pytest.mark.parametrize(
    ("task", "code", "parameter"),
    [
        pytest.param(image(colour="red"), "unknownParameter", "colour", id="no model has it"),
        pytest.param(image(maskMargin=32), "unsupportedParameter", "maskMargin", id="other models have it"),
        pytest.param(image(steps="many"), "invalidSteps", "steps", id="wrong type"),
        pytest.param(image(steps=True), "invalidSteps", "steps", id="a boolean is no integer"),
        pytest.param(image(scheduler="Magic"), "invalidScheduler", "scheduler", id="not in the list"),
        pytest.param(image(seed=2**53), "valueTooLarge", "seed", id="too large"),
        pytest.param(image(lora=[{"weight": 1}]), "missingModel", "lora.0.model", id="missing inside"),
        pytest.param(image(lora=[{"model": 1.5}]), "invalidModel", "lora.0.model", id="wrong inside"),
        pytest.param(
            image(safety={"checkContent": 1}), "invalidCheckContent", "safety.checkContent", id="flag"
        ),
        pytest.param(video(model="google:3@3", duration=5), "invalidDuration", "duration", id="not offered"),
        pytest.param(
            task_of("upscale", "runware:504@1", inputs={}), "missingImage", "inputs.image", id="no input"
        ),
        pytest.param(
            task_of("upscale", "runware:504@1", inputs={"image": "https://a.example/b.png"}, upscaleFactor=3),
            "invalidUpscaleFactor",
            "upscaleFactor",
            id="factor",
        ),
        pytest.param(
            task_of("promptEnhance", "runware:llama-3-1-8b@prompt-enhancer", prompt="x", promptMaxLength=500),
            "valueTooLarge",
            "promptMaxLength",
            id="enhanced prompt too long",
        ),
        pytest.param(training(learningRate="fast"), "invalidLearningRate", "learningRate", id="rate"),
        pytest.param(
            {**image(), "width": 512, "height": None}, "invalidHeight", "height", id="null is no number"
        ),
        pytest.param(
            {name: value for name, value in image().items() if name != "height"},
            "missingDimensions",
            ["width", "height"],
            id="one side alone",
        ),
    ],
)
async def test_a_fault_has_a_code_and_a_parameter(still, task, code, parameter):
    assert (code, parameter) == await refusal(still, task)


async def test_utilities_are_held_against_their_schema_too(still):
    search = {"taskType": "modelSearch", "taskUUID": str(uuid4()), "colour": "red"}
    upload = {"taskType": "mediaStorage", "taskUUID": str(uuid4()), "media": "https://a.example/b.png"}

    assert await refusal(still, search) == ("unknownParameter", "colour")
    assert await refusal(still, upload) == ("missingOperation", "operation")


async def test_a_refused_task_does_not_touch_its_neighbours(still):
    good, bad = image(), image(colour="red")

    response = (await still.send(bad, good)).json()

    assert [good["taskUUID"]] == [item["taskUUID"] for item in response["data"]]
    assert [bad["taskUUID"]] == [error["taskUUID"] for error in response["errors"]]


# The first call of the JavaScript SDK's README (seed 003), with every parameter it prints.
PRINTED = {
    "positivePrompt": "a cat",
    "negativePrompt": "a dog",
    "outputType": "URL",
    "outputFormat": "JPG",
    "checkNSFW": True,
    "seedImage": "https://a.example/b.png",
    "maskImage": "https://a.example/c.png",
    "strength": 0.8,
    "steps": 20,
    "scheduler": "Euler",
    "seed": 5,
    "CFGScale": 7,
    "clipSkip": 2,
    "refiner": {"model": "civitai:101055@128080", "startStep": 10},
    "usePromptWeighting": 1,
    "controlNet": [{"model": "civitai:38784@44716", "guideImage": "https://a.example/d.png", "weight": 1}],
    "lora": [{"model": "civitai:120096@135931", "weight": 1}],
    "providerSettings": {},
    "ipAdapters": [{"model": "runware:55@1", "guideImage": "https://a.example/e.png", "weight": 1}],
    "embeddings": [{"model": "civitai:1044536@1172007", "weight": 1}],
    "outpaint": {"top": 256, "right": 128, "bottom": 256, "left": 128, "blur": 16},
}


@pytest.mark.parametrize(
    "model", ["runware:100@1", "runware:101@1", "runware:97@1", "bfl:2@1", "civitai:4201@130090"]
)
async def test_the_printed_parameters_of_older_clients_go_together_for_any_model(still, model):
    response = await still.send(image(model=model, **PRINTED))

    assert response.status_code == 200, response.text


@pytest.mark.parametrize("length", [1, 10_000])
async def test_a_prompt_may_have_one_to_ten_thousand_characters(still, length):
    assert (await still.send(image(positivePrompt="a" * length))).status_code == 200
    assert await refusal(still, image(positivePrompt="a" * 10_001)) == (
        "invalidPositivePrompt",
        "positivePrompt",
    )


LEGACY = [
    pytest.param(image(checkNSFW=True, seedImage="https://a.example/b.png"), id="legacy parameters"),
    pytest.param(image(scheduler="DPMSolverMultistep", model="civitai:133005@782002"), id="legacy value"),
    pytest.param(
        {"taskType": "caption", "taskUUID": str(uuid4()), "inputImage": "https://a.example/b.png"},
        id="no model",
    ),
    pytest.param(
        {
            "taskType": "photoMaker",
            "taskUUID": str(uuid4()),
            "positivePrompt": "a portrait",
            "inputImages": ["https://a.example/b.png"],
        },
        id="legacy task type",
    ),
    pytest.param(
        task_of("removeImageBackground", "runware:109@1", inputs={"image": "https://a.example/b.png"}),
        id="renamed task type",
    ),
]


@pytest.mark.parametrize(("strictness", "accepted"), [("lenient", True), ("schema", True), ("strict", False)])
@pytest.mark.parametrize("task", LEGACY)
async def test_what_older_clients_send_is_accepted_unless_strict(still, task, strictness, accepted):
    await still.configure(switches={"strictness": strictness})

    response = (await still.send({**task, "taskUUID": str(uuid4()), "deliveryMethod": "async"})).json()

    assert accepted is ("errors" not in response), response


async def test_lenient_asks_only_for_what_all_models_share(still):
    await still.configure(switches={"strictness": "lenient"})

    assert "errors" not in (await still.send(image(colour="red"))).json()
    assert await refusal(still, image(width=100)) == ("invalidWidth", "width")


async def test_a_model_nobody_knows_is_held_against_its_task_type(still):
    """Community models are countless: any AIR is a model, and its own parameters are not known."""
    stranger = image(model="civitai:1@2", anything="goes")

    assert "errors" not in (await still.send(stranger)).json()
    assert await refusal(still, image(model="civitai:1@2", includeCost="yes")) == (
        "invalidIncludeCost",
        "includeCost",
    )


async def test_a_model_of_another_task_type_is_refused(still):
    assert await refusal(still, image(model="google:3@3")) == ("invalidModel", "model")


async def test_a_slug_is_a_model(still):
    assert "errors" not in (await still.send(image(model="bfl-flux-2-dev"))).json()
    assert await refusal(still, image(model="bfl-flux-2-dev", colour="red")) == ("unknownParameter", "colour")


async def test_media_of_others_and_deleted_media_are_not_found(still):
    task = {"taskType": "mediaStorage", "taskUUID": str(uuid4()), "operation": "upload", "media": "aGVsbG8="}
    stored = (await still.send(task)).json()["data"][0]["mediaUUID"]
    tool = task_of("upscale", "runware:504@1", inputs={"image": stored}, deliveryMethod="async")
    stranger = {"Authorization": "Bearer somebody.else"}

    mine = await still.send(tool)
    theirs = await still.send({**tool, "taskUUID": str(uuid4())}, headers=stranger)
    await still.send({**task, "taskUUID": str(uuid4()), "operation": "delete", "media": stored})
    deleted = await refusal(still, {**tool, "taskUUID": str(uuid4())})

    assert "errors" not in mine.json()
    assert theirs.json()["errors"][0]["code"] == "mediaNotFound"
    assert deleted == ("mediaNotFound", "inputs.image")


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 5000), st.floats(allow_nan=False), st.text(max_size=4)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["model", "image", "video", "weight", "role", "x"]), inner, max_size=3
        ),
    ),
    max_leaves=5,
)


@given(data=st.data())
def test_the_quick_look_never_passes_what_the_validator_refuses(data):
    schema = BUNDLE.models[data.draw(st.sampled_from(sorted(BUNDLE.models)))]["requestSchema"]
    names = data.draw(st.lists(st.sampled_from([*schema["properties"], "unknown"]), max_size=6))
    task = {
        name: data.draw(st.one_of(VALUES, _choices(schema["properties"].get(name, {})))) for name in names
    }

    if look_for(schema)(task):
        assert list(Draft202012Validator(schema).iter_errors(task)) == []


def _choices(schema):
    return st.sampled_from(schema.get("enum") or [schema.get("const")])


@pytest.mark.parametrize("task_type", sorted({entry["taskType"] for entry in BUNDLE.models.values()}))
def test_every_working_request_passes_the_quick_look(task_type):
    """Otherwise each request of such a model would go to the slow validator."""
    slow = [
        model.air
        for model in Catalogue().curated()
        if model.task_type == task_type
        and not look_for(BUNDLE.models[model.air]["requestSchema"])(
            sample_request(model, BUNDLE.models[model.air], str(uuid4()))
        )
    ]

    assert slow == []
