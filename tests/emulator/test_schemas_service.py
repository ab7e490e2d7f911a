"""The schemas service: registry with ETag, schemas by AIR or slug, the map of a release."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from runware_jobs.emulator.models.catalogue import SHIPPED_REGISTRY


async def test_the_registry_is_the_shipped_one(still):
    response = await still.http.get("/schemas/registry.json")

    assert response.content == SHIPPED_REGISTRY.read_bytes()
    assert response.json()["version"] == "20261012233936"


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
async def test_who_has_the_registry_does_not_get_it_again(still, form):
    etag = (await still.http.get("/schemas/registry.json")).headers["etag"]

    again = await still.http.get("/schemas/registry.json", headers={"If-None-Match": form.format(etag)})
    other = await still.http.get("/schemas/registry.json", headers={"If-None-Match": '"other"'})

    assert (304, b"", etag) == (again.status_code, again.content, again.headers["etag"])
    assert other.status_code == 200


@pytest.mark.parametrize(
    "name",
    ["runware:400@1", quote("runware:400@1", safe=""), "bfl-flux-2-dev"],
    ids=["raw", "quoted", "slug"],
)
async def test_a_model_is_resolved_however_it_is_named(still, name):
    resolved = (await still.http.get(f"/schemas/resolve/{name}")).json()

    assert resolved["requestSchema"]["properties"]["model"] == {"const": "runware:400@1"}
    assert "imageUUID" in resolved["responseSchema"]["properties"]
    assert resolved["documentation"] == "https://runware.ai/docs/models/bfl-flux-2-dev"


async def test_a_community_model_has_the_schema_of_its_architecture(still):
    resolved = (await still.http.get("/schemas/resolve/civitai:133005@782002")).json()

    assert "clipSkip" in resolved["requestSchema"]["properties"]


@pytest.mark.parametrize("name", ["nobody:1@1", "no-such-slug"])
async def test_an_unknown_model_is_404(still, name):
    assert (await still.http.get(f"/schemas/resolve/{name}")).status_code == 404


@pytest.mark.parametrize("version", ["latest", "20261012233936"])
async def test_a_release_lists_what_it_holds(still, version):
    release = (await still.http.get(f"/schemas/releases/{version}/schema-map.json")).json()
    resolved = [
        (await still.http.get(one["url"])).json()["requestSchema"] for one in release["inference"][:3]
    ]

    assert set(release) == {
        "version",
        "inference",
        "architectures",
        "modalities",
        "operations",
        "utilities",
        "errors",
    }
    assert len(release["inference"]) == 363
    assert [schema["properties"]["model"]["const"] for schema in resolved] == [
        one["air"] for one in release["inference"][:3]
    ]


async def test_another_release_is_404(still):
    assert (await still.http.get("/schemas/releases/20200101000000/schema-map.json")).status_code == 404
