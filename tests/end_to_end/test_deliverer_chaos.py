"""A worker killed -9 at the points of its deliveries, while receivers fail in every way they can."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chaos.figures import line_of
from tests.chaos.lane import open_lane
from tests.chaos.plan import make_plan
from tests.chaos.playing import play
from tests.chaos.telling import deliverer_killed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_every_event_is_told_at_least_once_in_its_order_and_nothing_else(tmp_path: Path) -> None:
    with open_lane(tmp_path / "lane") as lane:
        figures = play(lane, make_plan("deliverer_killed", seed=606), deliverer_killed, tmp_path / "run")
        arrivals = len(lane.receiver.arrivals)

    assert not figures.problems, line_of(figures)
    assert figures.counts["kills"] >= 4, line_of(figures)
    assert arrivals > figures.counts["jobs"]
