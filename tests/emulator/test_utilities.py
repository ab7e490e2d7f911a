"""Model search, uploads, the archive and the account's use, as the utilities answer them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from tests.emulator.media_samples import data_uri, finished, picture, result_of, uploaded
from tests.emulator.sample_tasks import image, video


async def use(still, task_type, **values):
    headers = values.pop("headers", None)
    options = {"headers": headers} if headers else {}
    task = {"taskType": task_type, "taskUUID": str(uuid4()), **values}
    answer = (await still.send(task, **options)).json()
    assert "errors" not in answer, answer
    return answer["data"][0]


async def search(still, **values):
    return await use(still, "modelSearch", **values)


@pytest.mark.parametrize(
    ("values", "is_wanted"),
    [
        ({"search": "portrait"}, lambda one: "portrait" in str(one).lower()),
        ({"category": "lora"}, lambda one: one["category"] == "lora"),
        ({"architecture": "sdxl", "category": "vae"}, lambda one: one["architecture"] == "sdxl"),
        ({"source": "community"}, lambda one: one["source"] == "community"),
        ({"capabilities": ["op:upscale"]}, lambda one: "op:upscale" in one["capabilities"]),
        ({"visibility": "public"}, lambda one: one["private"] is False),
        ({"tags": ["photography"]}, lambda one: "photography" in one["tags"]),
        ({"type": "inpainting"}, lambda one: one["type"] == "inpainting"),
        ({"category": "controlnet", "conditioning": "canny"}, lambda one: one["conditioning"] == "canny"),
        ({"featured": True}, lambda one: one["source"] == "official"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict | list) else "",
)
async def test_a_search_finds_what_it_names(still, values, is_wanted):
    everything = await search(still, limit=1000)

    found = await search(still, limit=1000, **values)

    assert 0 < found["totalResults"] < everything["totalResults"] or values == {"visibility": "public"}
    assert found["totalResults"] == len(found["results"])
    assert all(is_wanted(one) for one in found["results"])


async def test_nothing_is_private_or_favourite_at_first(still):
    for visibility in ("private", "owned", "favorite"):
        assert (await search(still, visibility=visibility))["totalResults"] == 0


@pytest.mark.parametrize(
    ("sort", "key", "is_down"),
    [
        ("name", "name", False),
        ("-name", "name", True),
        ("addedUnixTimestamp", "addedUnixTimestamp", False),
        ("-updatedDateUnixTimestamp", "updatedDateUnixTimestamp", True),
    ],
)
async def test_a_search_is_ordered_as_asked(still, sort, key, is_down):
    values = [one[key] for one in (await search(still, sort=sort, limit=1000))["results"]]
    values = [value.lower() if isinstance(value, str) else value for value in values]

    assert values == sorted(values, reverse=is_down)


async def test_popularity_alone_means_the_most_popular_first(still):
    first = (await search(still, sort="popularity", limit=1))["results"]
    last_page = await search(still, sort="-popularity", limit=1000)

    assert first == last_page["results"][-1:]


async def test_pages_of_a_search_join_without_gap(still):
    whole = (await search(still, limit=40))["results"]

    parts = [
        one for offset in (0, 15, 30) for one in (await search(still, limit=15, offset=offset))["results"]
    ]

    assert whole == parts[:40]


async def test_an_upload_of_a_model_runs_through_its_phases_and_can_be_used(still):
    await still.configure(latencies={"modelUpload": 10})
    task = {
        "taskType": "modelUpload",
        "taskUUID": str(uuid4()),
        "category": "checkpoint",
        "architecture": "sdxl",
        "format": "safetensors",
        "name": "My checkpoint",
        "version": "3",
        "air": "acme:mine@3",
        "downloadURL": "https://files.example/mine.safetensors",
        "tags": ["mine"],
        "private": True,
    }
    await still.send(task)
    seen = []
    for _ in range(11):
        item = (await still.poll(task["taskUUID"]))["data"][-1]
        seen.append(item["status"])
        still.pass_time(1)

    used = await result_of(still, **{**image(model="acme:mine@3"), "clipSkip": 2})
    stranger = {"Authorization": "Bearer somebody.else"}

    assert list(dict.fromkeys(seen)) == [
        "processing",
        "validated",
        "downloaded",
        "optimized",
        "stored",
        "ready",
    ]
    assert item["air"] == "acme:mine@3"
    assert used["imageURL"]
    assert (await search(still, visibility="owned"))["results"][0]["architecture"] == "sdxl"
    assert (await search(still, visibility="owned", headers=stranger))["totalResults"] == 0


async def test_an_uploaded_picture_is_served_used_and_gone_after_its_deletion(still):
    stored = await use(still, "imageUpload", image=data_uri(picture((40, 30))))
    before = await still.http.get(stored["imageURL"])

    await use(still, "mediaStorage", operation="delete", media=stored["imageUUID"])

    assert before.headers["content-type"] == "image/png"
    assert (await still.http.get(stored["imageURL"])).status_code == 404


async def test_media_of_others_cannot_be_deleted(still):
    mine = await uploaded(still, picture())
    task = {"taskType": "mediaStorage", "taskUUID": str(uuid4()), "operation": "delete", "media": mine}

    response = await still.send(task, headers={"Authorization": "Bearer somebody.else"})

    assert (response.status_code, response.json()["errors"][0]["code"]) == (404, "mediaNotFound")


async def test_the_archive_holds_the_request_and_the_whole_answer(still):
    task = image(numberResults=2)
    items = await finished(still, **task)

    details = await use(still, "getTaskDetails", taskUUID=task["taskUUID"])

    assert details["request"] == [task]
    assert details["response"] == {"data": items}


def usage_of(still, operation, **values):
    today = datetime.fromtimestamp(still.clock.time, UTC).date()
    window = {"startDate": (today - timedelta(2)).isoformat(), "endDate": today.isoformat()}
    return use(still, "accountManagement", operation=operation, **{**window, **values})


async def test_activity_counts_and_sums_what_the_ledger_billed(still):
    await finished(still, **image(numberResults=2))
    await finished(still, **video())

    usage = (await usage_of(still, "getUsageActivity", groupBy=["date", "model"]))["usage"]
    billed = Decimal((await still.ledger())["totals"]["billed_usd"])

    by_model = {row["model"]: row for row in usage["model"]["data"]}
    assert usage["timeseries"]["meta"]["totals"]["count"] == 2
    assert abs(Decimal(str(usage["model"]["meta"]["totals"]["spend"])) - billed) < Decimal("1e-9")
    assert by_model["runware:400@1"]["modelName"] == "Bfl Flux 2 Dev"
    assert sum(row["count"] for row in by_model.values()) == 2


async def test_activity_of_one_key_is_apart_from_that_of_another(still):
    await still.send(image())
    await still.send(image(), headers={"Authorization": "Bearer acme.two"})
    await still.send(image(), headers={"Authorization": "Bearer other.one"})

    details = await use(still, "accountManagement", operation="getDetails")
    keys = [key["uuid"] for key in details["apiKeys"]]
    of_first = await usage_of(still, "getUsageActivity", groupBy=["apiKey"], apiKeys=keys[:1])
    of_both = await usage_of(still, "getUsageActivity", groupBy=["apiKey"])

    assert len(keys) == 2
    assert of_first["usage"]["apiKey"]["data"] == [{"apiKey": keys[0], "count": 1, "spend": 0.0}]
    assert {row["apiKey"] for row in of_both["usage"]["apiKey"]["data"]} == set(keys)


async def test_performance_tells_how_long_tasks_took(still):
    await finished(still, **image())
    await finished(still, **video())

    totals = (await usage_of(still, "getUsagePerformance"))["usage"]["timeseries"]["meta"]["totals"]

    assert totals["avgInferenceTime"] == 16.0
    assert 16 < totals["p90InferenceTime"] <= totals["p99InferenceTime"] <= 30


async def test_errors_are_the_callers_or_the_platforms(still):
    await still.fault({"on": "submit", "model": "klingai:5@3", "action": "item_error"})
    await still.send(image(width=100))
    await still.send(video())
    still.pass_time(60)

    totals = (await usage_of(still, "getUsageErrors"))["usage"]["timeseries"]["meta"]["totals"]

    assert totals == {"count": 1, "clientErrors": 1, "serverErrors": 1}


async def test_a_day_is_that_of_the_time_zone_asked_for(still):
    """The stub clock stands at 8 in the morning UTC: in Los Angeles it is still the day before... or not."""
    await still.send(image())
    now = datetime.fromtimestamp(still.clock.time, UTC)

    far_west = await usage_of(still, "getUsageActivity", timezone="Pacific/Pago_Pago")

    days = [row["date"] for row in far_west["usage"]["timeseries"]["data"]]
    assert days == [(now - timedelta(hours=11)).date().isoformat()]


@pytest.mark.parametrize(
    ("values", "parameter"),
    [
        ({"startDate": "2026-01-01", "endDate": "2026-03-01"}, ["startDate", "endDate"]),
        ({"startDate": "2026-03-02", "endDate": "2026-03-01"}, ["startDate", "endDate"]),
        ({"startDate": "soon"}, "startDate"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"groupBy": ["colour"]}, "groupBy.0"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict | list) else "",
)
async def test_a_window_that_makes_no_sense_is_refused(still, values, parameter):
    task = {
        "taskType": "accountManagement",
        "taskUUID": str(uuid4()),
        "operation": "getUsageActivity",
        **values,
    }

    error = (await still.send(task)).json()["errors"][0]

    assert error["parameter"] == parameter


async def test_details_say_what_was_spent_when(still):
    await finished(still, **image())
    still.pass_time(3 * 86_400)
    await finished(still, **image())

    usage = (await use(still, "accountManagement", operation="getDetails"))["usage"]

    assert [usage[name]["requests"] for name in ("today", "last7Days", "last30Days", "total")] == [1, 2, 2, 2]
    assert usage["total"]["credits"] == pytest.approx(2 * usage["today"]["credits"])
