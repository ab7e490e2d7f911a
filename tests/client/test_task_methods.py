"""The methods of the JS SDK: what goes over the wire, what comes back, what is taken out on the way."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from runware_jobs.client import RunOptions, Runware, RunwareError

pytestmark = pytest.mark.usefixtures("fast_pace")

DONE = {"status": "success", "imageUUID": "i", "imageURL": "https://x.example/i"}
OWN_UUID = "2b1f3a52-2a53-4b4c-9a13-0c4b3a6c7d11"

# method, its task type on the wire, what seed 003 or the platform calls it with, the shape of one result
METHODS = [
    ("image_inference", "imageInference", {"model": "runware:400@1", "positivePrompt": "a cat"}, list),
    ("request_images", "imageInference", {"model": "runware:400@1", "checkNSFW": True}, list),
    ("photo_maker", "photoMaker", {"inputImages": ["https://x.example/1"], "style": "Comic book"}, list),
    ("video_inference", "videoInference", {"model": "google:3@3", "positivePrompt": "waves"}, dict),
    ("audio_inference", "audioInference", {"model": "elevenlabs:1@1", "duration": 10}, dict),
    ("text_inference", "textInference", {"model": "google:gemma@4-31b", "messages": []}, dict),
    ("three_d_inference", "3dInference", {"model": "some:3d@1", "inputs": {}}, dict),
    ("caption", "caption", {"inputImage": "https://x.example/1"}, dict),
    ("request_image_to_text", "caption", {"inputImage": "https://x.example/1"}, dict),
    ("caption", "caption", {"model": "memories:1@1", "inputs": {"video": "https://x.example/v"}}, dict),
    ("upscale", "upscale", {"inputImage": "https://x.example/1", "upscaleFactor": 2}, dict),
    ("upscale_gan", "upscale", {"inputImage": "https://x.example/1", "upscaleFactor": 4}, dict),
    (
        "remove_background",
        "removeBackground",
        {"inputImage": "https://x.example/1", "rgba": [0, 0, 0, 0]},
        dict,
    ),
    ("remove_image_background", "removeBackground", {"inputImage": OWN_UUID, "alphaMatting": True}, dict),
    ("prompt_enhance", "promptEnhance", {"prompt": "a cat", "promptMaxLength": 64}, dict),
    ("enhance_prompt", "promptEnhance", {"prompt": "a cat", "promptVersions": 1}, dict),
    (
        "controlnet_preprocess",
        "imageControlNetPreProcess",
        {"inputImage": "x", "preProcessorType": "canny"},
        dict,
    ),
    (
        "control_net_pre_process",
        "imageControlNetPreProcess",
        {"inputImage": "x", "lowThresholdCanny": 1},
        dict,
    ),
    ("controlnet_preprocess", "controlNetPreprocess", {"model": "a:b@1", "inputs": {"image": "x"}}, dict),
    ("image_masking", "imageMasking", {"model": "runware:35@1", "inputImage": "x", "maskPadding": 5}, dict),
    ("vectorize", "vectorize", {"model": "recraft:1@1", "inputs": {"image": "x"}}, dict),
    ("training", "training", {"model": "exactly:illustrative@training", "inputs": {"dataset": "x"}}, dict),
]


@pytest.mark.parametrize(("method", "task_type", "params", "shape"), METHODS)
async def test_method_sets_its_task_type_and_sends_the_rest_unchanged(
    platform, method, task_type, params, shape
):
    platform.answers({"data": [DONE]})
    result = await getattr(platform.client(), method)(params)

    sent = platform.sent[0]
    assert sent["taskType"] == task_type
    assert set(sent) - {"taskType", "taskUUID", "deliveryMethod"} == set(params)
    assert sent.items() >= params.items()
    assert type(result) is shape


async def test_params_may_be_keywords_and_a_keyword_replaces_its_parameter(platform):
    platform.answers({"data": [DONE]})
    await platform.client().image_inference({"model": "a:b@1", "seed": 1}, seed=2, positivePrompt="a cat")

    assert {"model": "a:b@1", "seed": 2, "positivePrompt": "a cat"}.items() <= platform.sent[0].items()


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("audio_inference", {"model": "elevenlabs:1@1", "numberResults": 2}),
        ("text_inference", {"model": "google:gemma@4-31b", "messages": [], "numberResults": 2}),
        ("prompt_enhance", {"prompt": "a cat", "promptVersions": 2}),
    ],
)
async def test_several_results_are_a_list(platform, method, params):
    done = {"status": "success", "text": "t"}
    platform.answers({"data": [{}]}, {"data": [done]}, {"data": [done, done]})

    assert len(await getattr(platform.client(), method)(params)) == 2


async def test_result_without_an_image_uuid_is_a_result(platform):
    platform.answers({"data": [{"mediaUUID": "m", "mediaURL": "https://x.example/m"}]})
    result = await platform.client().upscale({"inputs": {"image": "https://x.example/1"}, "model": "a:b@1"})

    assert result["mediaUUID"] == "m"


async def test_params_that_are_no_mapping_are_refused(platform):
    with pytest.raises(RunwareError, match="one dict") as raised:
        await platform.client().caption(["https://x.example/1"])
    assert raised.value.code == "validation"


def test_every_method_is_documented():
    methods = {name for name, *_ in METHODS}

    assert [name for name in sorted(methods) if not inspect.getdoc(getattr(Runware, name))] == []


# ---- what is taken out before sending --------------------------------------------------------------


@pytest.mark.parametrize("as_keywords", [False, True])
@pytest.mark.parametrize(
    "extras",
    [
        {"retry": 1, "customTaskUUID": OWN_UUID, "onPartialImages": print, "includePayload": False},
        {"custom_task_uuid": OWN_UUID, "on_partial_images": print, "skip_response": False},
        {"taskUUID": OWN_UUID, "onPartialResponse": print, "onUploadStream": None, "retry": None},
    ],
)
async def test_extras_stand_among_params_or_keywords_and_are_not_sent(platform, extras, as_keywords):
    platform.answers({"data": [DONE]})
    params = {"model": "a:b@1", "positivePrompt": "a cat"}
    client = platform.client()
    if as_keywords:
        await client.image_inference(params, **extras)
    else:
        await client.image_inference({**params, **extras})

    assert platform.sent[0].keys() == {*params, "taskType", "taskUUID", "deliveryMethod"}
    assert platform.sent[0]["taskUUID"] == OWN_UUID


async def test_run_takes_them_out_too(platform):
    platform.answers({"data": [DONE]})
    await platform.client().run({"taskType": "vectorize", "customTaskUUID": OWN_UUID, "retry": 1})

    assert platform.sent[0] == {"taskType": "vectorize", "taskUUID": OWN_UUID, "deliveryMethod": "async"}


@pytest.mark.parametrize(
    "extras", [{"retry": -1}, {"retry": "2"}, {"on_partial_images": 5}, {"skipResponse": "yes"}]
)
async def test_extra_of_the_wrong_kind_is_named(platform, extras):
    with pytest.raises(RunwareError) as raised:
        await platform.client().vectorize(extras)
    assert (raised.value.code, [raised.value.parameter]) == ("validation", list(extras))
    assert platform.sent == []


@pytest.mark.parametrize(("retry", "tries"), [(0, 1), (1, 1), (3, 3)])
async def test_retry_is_the_number_of_tries_in_all_under_one_uuid(platform, retry, tries):
    platform.answers({"errors": [{"code": "serviceUnavailable"}], "status": 503})

    with pytest.raises(RunwareError):
        await platform.client(max_retries=7).image_inference({"model": "a:b@1", "retry": retry})
    assert len(platform.sent) == tries
    assert len({task["taskUUID"] for task in platform.sent}) == 1


async def test_retry_after_a_try_that_arrived_finds_its_task_instead_of_making_a_second(
    http_platform, open_client, answer_with
):
    answers = [
        lambda _: answer_with(hang_up=True),
        lambda tasks: answer_with(
            {"errors": [{"code": "conflictTaskUUID", "message": "m", "taskUUID": tasks[0]["taskUUID"]}]},
            status=400,
        ),
        lambda tasks: answer_with({"data": [{**DONE, "taskUUID": tasks[0]["taskUUID"]}]}),
    ]

    def answer(tasks):
        return answers.pop(0)(tasks)

    http_platform.script = answer
    images = await open_client(transport="rest").image_inference({"model": "a:b@1", "retry": 2})

    assert [image["imageUUID"] for image in images] == ["i"]
    assert len({task["taskUUID"] for request in http_platform.requests for task in request}) == 1


async def test_silence_is_tried_again_after_the_duration_of_an_attempt_under_the_same_uuid(
    platform, http_platform, socket_platform
):
    async def never_answer(_tasks):
        await asyncio.Event().wait()

    async def send_nothing(_connection, _frame):
        pass

    http_platform.script, socket_platform.script = never_answer, send_nothing
    client = platform.client(timeoutDuration=100, globalMaxRetries=2)

    with pytest.raises(RunwareError) as raised:
        await client.image_inference({"model": "a:b@1"})
    assert raised.value.code == "timeout"
    assert len(platform.sent) == 2
    assert len({task["taskUUID"] for task in platform.sent}) == 1


async def test_partial_images_are_told_as_they_finish(platform):
    frames = []
    first, second = {**DONE, "imageUUID": "1"}, {**DONE, "imageUUID": "2"}
    platform.answers(
        {"data": [{}]},
        {"data": [{"status": "processing"}, {"status": "processing"}]},
        {"data": [first, {"status": "processing"}]},
        {"data": [first, second]},
    )
    await platform.client().image_inference(
        {"model": "a:b@1", "numberResults": 2},
        on_partial_images=lambda images, error: frames.append(([i["imageUUID"] for i in images], error)),
    )

    assert frames == [(["1"], None), (["2"], None)]


async def test_partial_images_are_told_with_the_error_that_came_along(platform):
    frames = []
    failed = {"status": "error", "error": {"code": "contentPolicyViolation", "message": "no"}}
    platform.answers({"data": [{}]}, {"data": [DONE, failed]})

    with pytest.raises(RunwareError):
        await platform.client().image_inference(
            {"model": "a:b@1", "numberResults": 2},
            on_partial_images=lambda images, error: frames.append((len(images), error.code)),
        )
    assert frames == [(1, "safety")]


async def test_refused_request_is_told_to_partial_images_without_any(platform):
    frames = []
    platform.answers({"errors": [{"code": "invalidWidth"}], "status": 400})

    with pytest.raises(RunwareError):
        await platform.client().image_inference(
            {"model": "a:b@1", "onPartialImages": lambda images, error: frames.append((images, error.code))}
        )
    assert frames == [([], "validation")]


async def test_skip_response_ends_with_the_acknowledgement(platform):
    platform.answers({"data": [{}]})
    ack = await platform.client().training({"model": "a:b@1"}, skip_response=True, customTaskUUID=OWN_UUID)

    assert ack == {"taskType": "training", "taskUUID": OWN_UUID}
    assert len(platform.sent) == 1


async def test_payload_and_generation_time_come_with_each_result_when_asked_for(platform):
    platform.answers({"data": [DONE]})
    result = await platform.client().vectorize(
        {"model": "a:b@1", "includePayload": True, "includeGenerationTime": True}
    )

    assert result["additionalResponse"]["payload"] == platform.sent[0]
    assert result["additionalResponse"]["generationTime"] >= 0


async def test_options_of_run_hold_for_methods_too(platform):
    heard = []
    platform.answers({"data": [DONE]})
    await platform.client().upscale({"inputImage": "x"}, RunOptions(on_result=heard.append))

    assert [item["imageUUID"] for item in heard] == ["i"]
