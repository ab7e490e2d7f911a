"""A short seeded selection of the chaos runs: one of every scenario. `make chaos` plays hundreds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chaos.figures import line_of
from tests.chaos.plan import make_plan
from tests.chaos.playing import play
from tests.chaos.scenarios import LONG, SCENARIOS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.lane import Lane

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name not in LONG])
def test_books_agree_after(scenario: str, lane: Lane, tmp_path: Path) -> None:
    figures = play(lane, make_plan(scenario, seed=1, jobs=18), SCENARIOS[scenario], tmp_path / scenario)

    assert not figures.problems, line_of(figures)
