"""Which task type a task gets, from the registry that ships with the package."""

from __future__ import annotations

import pytest

from runware_jobs.client import RunwareError, bundled_registry, resolve_task_type


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


async def test_service_that_is_away_leaves_the_bundle(open_client):
    registry = open_client(schemas_base_url="http://127.0.0.1:9")._parts.registry
    await registry.refresh()

    assert "runware:400@1" in (await registry.current()).models
