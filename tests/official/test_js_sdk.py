"""`@runware/sdk-js`, a scenario of node/sdk_js per test; it speaks only WebSocket."""

from __future__ import annotations

import pytest

from tests.official.node_runs import scenarios_in

pytestmark = pytest.mark.slow

SCENARIOS = scenarios_in("sdk_js")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_js_sdk(js_sdk, scenario):
    report = js_sdk[scenario]

    assert report["ok"], report["error"]


def test_every_scenario_of_the_js_sdk_is_a_test(js_sdk):
    assert set(SCENARIOS) == set(js_sdk)
