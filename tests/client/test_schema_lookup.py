"""Where schemas come from as time goes by: a service that is away is left alone, and asked again later."""

from __future__ import annotations

import pytest

from runware_jobs.client import clear_validator_cache
from runware_jobs.client.log import ClientLog
from runware_jobs.client.services.schema_lookup import find_schema
from tests.support.side_service import SideAnswer

CURATED, COMMUNITY = "runware:400@1", "civitai:133005@782002"
RESOLVED = SideAnswer({"requestSchema": {"type": "object"}, "documentation": "https://docs/x"})


@pytest.fixture(autouse=True)
def _no_schema_is_kept():
    clear_validator_cache()
    yield
    clear_validator_cache()


class Clock:
    """The lookup's clock, moved by hand."""

    now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def look(open_side_client):
    """Look schemas up by a clock that `look.clock.now` moves."""
    config = open_side_client().config
    session = open_side_client()._parts.session

    async def find(model=CURATED):
        task = {"taskType": "imageInference", "model": model}
        return await find_schema(
            session, config.schemas_base_url, task, ClientLog(enabled=False), clock=find.clock
        )

    find.clock = Clock()
    return find


async def test_service_that_is_away_is_left_alone_for_half_a_minute(look, side_service):
    side_service.answers(SideAnswer(status=500))
    for model in (CURATED, CURATED, "google:3@3", COMMUNITY):
        await look(model)
    assert len(side_service.requests) == 1

    look.clock.now += 31
    side_service.answers(RESOLVED)
    found = await look()
    assert found.documentation == "https://docs/x"


async def test_broken_schema_of_one_model_does_not_concern_the_others(look, side_service):
    side_service.answers(SideAnswer({"requestSchema": {"type": "x"}}), RESOLVED)

    broken, again, other = await look(CURATED), await look(CURATED), await look(COMMUNITY)

    assert broken is again
    assert broken.documentation is None
    assert other.documentation == "https://docs/x"
    assert len(side_service.requests) == 2


async def test_unknown_model_is_asked_for_again_after_five_minutes(look, side_service):
    side_service.answers(SideAnswer(status=404), RESOLVED)
    assert await look(COMMUNITY) is None

    look.clock.now += 301
    assert (await look(COMMUNITY)).documentation == "https://docs/x"
