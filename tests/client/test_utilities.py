"""The utilities: one request and its answer, and the phases of a model upload."""

from __future__ import annotations

import asyncio

import pytest

from runware_jobs.client import RunOptions, RunwareError

pytestmark = pytest.mark.usefixtures("fast_pace")

OWN_UUID = "2b1f3a52-2a53-4b4c-9a13-0c4b3a6c7d11"
BASE = {
    "air": "acme:style@1",
    "name": "style",
    "downloadURL": "https://models.example/style.safetensors",
    "uniqueIdentifier": "a" * 64,
    "version": "1.0",
    "format": "safetensors",
    "architecture": "sdxl",
    "tags": ["ink"],
    "private": True,
}
VARIANTS = {
    "controlnet": {**BASE, "category": "controlnet", "conditioning": "canny"},
    "checkpoint": {
        **BASE,
        "category": "checkpoint",
        "defaultCFGScale": 7,
        "defaultStrength": 0.8,
        "type": "base",
    },
    "lora": {**BASE, "category": "lora", "defaultWeight": 0.9, "positiveTriggerWords": "ink style"},
}
PHASES = ["validated", "downloaded", "optimized", "stored", "ready"]


def phase(status, **fields):
    return {"status": status, "message": f"Model {status}", "air": "acme:style@1", **fields}


@pytest.mark.parametrize(
    ("method", "task_type", "params"),
    [
        ("model_search", "modelSearch", {"search": "portrait", "category": "checkpoint", "limit": 10}),
        ("image_upload", "imageUpload", {"image": "https://x.example/photo.jpg"}),
        ("media_storage", "mediaStorage", {"operation": "delete", "media": OWN_UUID}),
        ("account_management", "accountManagement", {"operation": "getDetails"}),
        ("get_task_details", "getTaskDetails", {"taskUUID": OWN_UUID}),
        ("get_response", "getResponse", {"taskUUID": OWN_UUID}),
    ],
)
@pytest.mark.parametrize("as_keywords", [False, True])
async def test_utility_sends_its_params_and_gives_a_list_of_what_came(
    platform, method, task_type, params, as_keywords
):
    platform.answers({"data": [{"status": "success", "anything": {"the": "platform"}, "imageURL": "u"}]})
    utility = getattr(platform.client(), method)
    answer = await (utility(**params) if as_keywords else utility(params))

    assert platform.sent[0]["taskType"] == task_type
    assert platform.sent[0].items() >= params.items()
    assert [item["anything"] for item in answer] == [{"the": "platform"}]


async def test_dropped_filters_of_a_search_pass_and_every_field_of_its_answer_survives(platform):
    filters = {
        "tags": ["ink"],
        "owned": True,
        "featured": True,
        "type": "base",
        "conditioning": "canny",
        "private": False,
    }
    model = {"air": "a:b@1", "downloadUrl": "https://x.example", "nsfwLevel": 3, "compatibleSizeIds": [1, 2]}
    platform.answers({"data": [{"totalResults": 1, "results": [model]}]})
    (found,) = await platform.client().model_search({**filters, "customTaskUUID": OWN_UUID, "retry": 1})

    assert platform.sent[0] == {**filters, "taskType": "modelSearch", "taskUUID": OWN_UUID}
    assert (found["totalResults"], found["results"]) == (1, [model])


async def test_upload_is_the_usual_operation_of_media_storage(platform):
    platform.answers({"data": [{"mediaUUID": "m", "operation": "upload"}]})
    await platform.client().media_storage({"media": "https://x.example/1"})

    assert platform.sent[0]["operation"] == "upload"


async def test_question_is_asked_again_and_a_change_that_may_have_arrived_is_not(
    http_platform, open_client, answer_with
):
    http_platform.script = lambda _: answer_with({}, status=503)
    client = open_client(max_retries=2)

    with pytest.raises(RunwareError):
        await client.model_search({"search": "x"})
    asked = len(http_platform.requests)
    with pytest.raises(RunwareError):
        await client.media_storage({"media": "https://x.example/1"})

    assert (asked, len(http_platform.requests) - asked) == (3, 1)


# ---- model upload --------------------------------------------------------------------------------


@pytest.mark.parametrize("category", sorted(VARIANTS))
async def test_upload_is_followed_through_its_phases_and_the_answer_is_the_last(platform, category):
    heard, streamed = [], []
    platform.answers({"data": [phase(status) for status in PHASES]})
    answer = await platform.client().model_upload(
        VARIANTS[category],
        on_phase=lambda item: heard.append(item["status"]),
        on_upload_stream=lambda item, error: streamed.append((item["status"], error)),
        retry=2,
        customTaskUUID=OWN_UUID,
    )

    assert platform.sent == [{**VARIANTS[category], "taskType": "modelUpload", "taskUUID": OWN_UUID}]
    assert heard == PHASES
    assert streamed == [(status, None) for status in PHASES]
    assert [(item["status"], item["air"]) for item in answer] == [("ready", "acme:style@1")]


@pytest.mark.parametrize("platform", ["rest"], indirect=True)
async def test_phases_that_are_only_acknowledged_are_asked_for(platform):
    heard = []
    platform.answers(
        {"data": [{}]},
        {"data": [phase("validated")]},
        {"data": [phase("validated"), phase("downloaded")]},
        {"data": [phase("ready")]},
    )
    answer = await platform.client().model_upload(BASE, on_phase=lambda item: heard.append(item["status"]))

    assert heard == ["validated", "downloaded", "ready"]
    assert answer[-1]["status"] == "ready"


async def test_older_spellings_of_the_urls_are_sent_as_the_platform_spells_them(platform):
    params = {name: value for name, value in BASE.items() if name != "downloadURL"}
    platform.answers({"data": [phase("ready")]})
    await platform.client().model_upload(
        {**params, "downloadUrl": "https://models.example/a", "heroImageUrl": "https://models.example/b"}
    )

    assert platform.sent[0]["downloadURL"] == "https://models.example/a"
    assert platform.sent[0]["heroImageURL"] == "https://models.example/b"
    assert not {"downloadUrl", "heroImageUrl"} & platform.sent[0].keys()


async def test_failed_phase_is_told_with_its_reason_and_raised(platform):
    streamed = []
    platform.answers({"data": [phase("validated"), phase("failed", message="The file is no safetensors.")]})

    with pytest.raises(RunwareError, match="no safetensors") as raised:
        await platform.client().model_upload(
            BASE, onUploadStream=lambda item, error: streamed.append((item["status"], error and error.code))
        )
    assert raised.value.code == "provider"
    assert streamed == [("validated", None), ("failed", "provider")]


async def test_refused_upload_is_told_without_a_phase(platform):
    streamed = []
    platform.answers({"errors": [{"code": "invalidArchitecture"}], "status": 400})

    with pytest.raises(RunwareError):
        await platform.client().model_upload(
            BASE, on_upload_stream=lambda item, error: streamed.append((item, error.code))
        )
    assert streamed == [(None, "validation")]


async def test_upload_with_a_skipped_response_ends_with_the_first_answer(platform):
    platform.answers({"data": [phase("validated")]})
    answer = await platform.client().model_upload(BASE, skip_response=True)

    assert [item["status"] for item in answer] == ["validated"]
    assert len(platform.sent) == 1


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("model_search", {"search": "x", "tags": ["ink"]}),
        ("image_upload", {"image": "https://x.example/1"}),
        ("media_storage", {"media": "https://x.example/1"}),
        ("model_upload", VARIANTS["lora"]),
        ("account_management", {"operation": "getDetails"}),
        ("get_task_details", {"taskUUID": OWN_UUID}),
        ("get_response", {"taskUUID": OWN_UUID}),
    ],
)
async def test_right_params_of_a_utility_pass_validation(platform, method, params):
    platform.answers({"data": [{"status": "ready"}]})

    assert await getattr(platform.client(validate=True), method)(params)


@pytest.mark.parametrize("is_client_wide", [True, False])
async def test_utility_is_validated_when_asked_for(platform, is_client_wide):
    options = None if is_client_wide else RunOptions(validate=True)

    with pytest.raises(RunwareError) as raised:
        await platform.client(validate=is_client_wide).model_upload({"category": "lora"}, options)
    assert raised.value.validation_errors
    assert platform.sent == []


async def test_callback_of_an_upload_that_raises_changes_nothing(platform):
    platform.answers({"data": [phase("validated"), phase("ready")]})
    answer = await platform.client().model_upload(BASE, on_phase=lambda _: 1 / 0)

    assert answer[-1]["status"] == "ready"


@pytest.mark.parametrize("platform", ["rest"], indirect=True)
async def test_upload_that_is_not_ready_in_time_goes_on(platform):
    platform.answers({"data": [phase("validated")]})

    with pytest.raises(RunwareError, match="goes on") as raised:
        await platform.client().model_upload(BASE, RunOptions(timeout=100))
    assert raised.value.code == "timeout"


@pytest.mark.parametrize("platform", ["rest"], indirect=True)
async def test_upload_that_nobody_waits_for_any_more_names_its_task(platform):
    platform.answers({"data": [phase("validated")]})
    enough = asyncio.Event()

    with pytest.raises(RunwareError) as raised:
        await platform.client().model_upload(
            BASE, RunOptions(cancel_event=enough), on_phase=lambda _phase: enough.set()
        )

    assert raised.value.code == "aborted"
    assert (raised.value.task_uuid, raised.value.task_type) == (platform.sent[0]["taskUUID"], "modelUpload")
