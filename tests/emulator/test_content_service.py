"""The content service: the catalogue as clients browse it, filtered, ordered and in pages."""

from __future__ import annotations

import io
from uuid import uuid4

import pytest
from PIL import Image

FIELDS = {
    "model",
    "air",
    "name",
    "creator",
    "capabilities",
    "architecture",
    "hosted",
    "status",
    "releasedAt",
    "weight",
    "headline",
    "description",
    "coverImage",
    "ogImage",
    "pricingOverview",
    "pricingExamples",
}


async def get(still, path, **query):
    response = await still.http.get(f"/content/{path}", params=query)
    assert response.status_code == 200, response.text
    return response.json()


async def test_models_are_listed_with_every_field(still):
    models = await get(still, "models")

    assert len(models) > 350
    assert all(set(one) >= FIELDS for one in models)
    assert len({one["air"] for one in models}) == len(models)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({"creator": "black-forest-labs"}, lambda one: one["creator"] == "black-forest-labs"),
        ({"capability": "op:upscale"}, lambda one: "op:upscale" in one["capabilities"]),
        ({"q": "FLUX dev"}, lambda one: "flux" in one["model"] and "dev" in one["model"]),
        ({"status": "deprecated"}, lambda one: one["status"] == "deprecated" and one["replacedBy"]),
        ({"status": "compatible-only"}, lambda one: one["status"] == "compatible-only"),
        ({"status": "coming-soon"}, lambda one: one["status"] == "coming-soon"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict | list) else "",
)
async def test_a_filter_leaves_what_it_names_and_nothing_else(still, query, wanted):
    found = {one["air"] for one in await get(still, "models", **query)}
    everything = [
        one
        for status in ("live", "deprecated", "coming-soon", "compatible-only")
        for one in await get(still, "models", status=status)
    ]

    assert found
    assert found == {one["air"] for one in everything if wanted(one)}


@pytest.mark.parametrize("category", ["image", "video", "audio", "text", "3d"])
async def test_every_category_has_models(still, category):
    counts = {one: len(await get(still, "models", category=one)) for one in (category, "image", "video")}

    assert 0 < counts[category] < 300


async def test_a_page_is_a_part_of_the_whole(still):
    everything = await get(still, "models", sort="name")

    page = await get(still, "models", sort="name", paginate="true", limit=25, offset=50)

    assert (page["total"], page["limit"], page["offset"]) == (len(everything), 25, 50)
    assert page["items"] == everything[50:75]


@pytest.mark.parametrize(
    ("sort", "key", "usually_down"),
    [
        ("weight", "weight", True),
        ("popularity", "weight", True),
        ("releasedAt", "releasedAt", True),
        ("newest", "releasedAt", True),
        ("name", "name", False),
        ("alpha", "name", False),
        ("creator", "creator", False),
    ],
)
async def test_an_order_can_be_chosen_and_turned_around(still, sort, key, usually_down):
    def values(models):
        return [str(one[key]).lower() if isinstance(one[key], str) else one[key] for one in models]

    usual = values(await get(still, "models", sort=sort))
    turned = values(await get(still, "models", sort=sort, order="asc" if usually_down else "desc"))

    assert usual == sorted(usual, reverse=usually_down)
    assert turned == sorted(turned, reverse=not usually_down)


async def test_an_unknown_order_is_refused(still):
    assert (await still.http.get("/content/models", params={"sort": "size"})).status_code == 400


@pytest.mark.parametrize(
    "name", ["alibaba-z-image-turbo", "runware%3Az-image%40turbo", "runware:z-image@turbo"]
)
async def test_a_model_is_found_by_slug_and_by_air(still, name):
    assert (await get(still, f"models/{name}"))["air"] == "runware:z-image@turbo"


@pytest.mark.parametrize(
    "path",
    [
        "models/nope",
        "models/nope/examples",
        "models/nope/pricing",
        "models/nope/guides",
        "creators/nope",
        "collections/nope",
    ],
)
async def test_what_is_not_there_is_404(still, path):
    assert (await still.http.get(f"/content/{path}")).status_code == 404


async def test_every_example_is_a_request_that_works(still):
    models = await get(still, "models")
    examples = [one for model in models for one in await get(still, f"models/{model['model']}/examples")]

    answer = (
        await still.send(
            *({**one["request"], "taskUUID": str(uuid4())} for one in examples),
            headers={"Authorization": "Bearer acme.one", "X-Runware-Dry-Run": "1"},
        )
    ).json()

    assert len(examples) == len(models)
    assert answer.get("errors") is None
    assert len(answer["data"]) == len(examples)


async def test_examples_can_be_asked_for_by_capability(still):
    all_of_them = await get(still, "models/flux-1-dev/examples")

    assert all_of_them == await get(still, "models/flux-1-dev/examples", capability="io:text-to-image")
    assert await get(still, "models/flux-1-dev/examples", capability="op:caption") == []


async def test_the_price_of_a_model_is_what_its_example_costs(still):
    example = (await get(still, "models/flux-1-dev/examples"))[0]["request"]
    pricing = await get(still, "models/flux-1-dev/pricing")

    dry = await still.send(
        {**example, "taskUUID": str(uuid4())},
        headers={"Authorization": "Bearer acme.one", "X-Runware-Dry-Run": "1"},
    )

    assert float(pricing["pricingExamples"][0]["price"].lstrip("$")) == dry.json()["data"][0]["cost"]
    assert pricing["category"] == ["image"]


async def test_creators_and_collections_hold_whole_models(still):
    creators = await get(still, "creators")
    google = await get(still, "creators/google")
    collections = await get(still, "collections")
    of_images = await get(still, "collections", category="image")

    assert google in creators
    assert {"google-veo-3-1", "google-gemma-4-31b"} <= {one["model"] for one in google["models"]}
    assert all(set(model) >= FIELDS for one in collections for model in one["models"])
    assert all(one["models"] for one in collections)
    assert await get(still, f"collections/{collections[0]['id']}") == collections[0]
    assert {one["id"] for one in of_images} < {one["id"] for one in collections}
    assert all("image" in one["category"] for one in of_images)


async def test_every_capability_of_a_model_has_a_label(still):
    labels = {one["id"]: one["label"] for one in await get(still, "capabilities")}

    assert {one for model in await get(still, "models") for one in model["capabilities"]} == set(labels)
    assert {one.partition(":")[0] for one in labels} == {"io", "op", "form"}
    assert labels["io:text-to-image"] == "Text to image"


async def test_guides_and_covers_are_there(still):
    guides = await get(still, "models/google-veo-3-1/guides")
    cover = (await get(still, "models/google-veo-3-1"))["coverImage"]

    picture = Image.open(io.BytesIO((await still.http.get(cover)).content))

    assert set(guides[0]) == {"slug", "title", "description", "date", "url"}
    assert picture.size == (640, 360)
