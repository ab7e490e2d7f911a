"""`@runware/ai-sdk-provider` under the Vercel AI SDK, a scenario of node/ai_sdk_provider per test; REST only."""

from __future__ import annotations

import pytest

from tests.official.node_runs import scenarios_in

pytestmark = pytest.mark.slow

SCENARIOS = scenarios_in("ai_sdk_provider")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_vercel_provider(vercel_provider, scenario):
    report = vercel_provider[scenario]

    assert report["ok"], report["error"]


def test_every_scenario_of_the_provider_is_a_test(vercel_provider):
    assert set(SCENARIOS) == set(vercel_provider)
