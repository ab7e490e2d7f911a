"""What a run asks for, when earlier runs have brought a part of it."""

from __future__ import annotations

import pytest

from runware_jobs.core.task_types import MAX_SEED, asking_for, results_expected

FOUR = {"taskType": "imageInference", "positivePrompt": "a", "numberResults": 4}


def test_run_that_lacks_everything_asks_as_its_producer_did():
    assert asking_for({**FOUR, "seed": 7}, 4, run=3) == {**FOUR, "seed": 7}


def test_run_that_lacks_some_asks_for_these():
    assert asking_for(FOUR, 1, run=2) == {**FOUR, "numberResults": 1}
    assert results_expected(asking_for(FOUR, 1, run=2)) == 1


def test_prompt_versions_are_counted_by_their_own_name():
    params = {"taskType": "promptEnhance", "prompt": "a", "promptVersions": 5}

    assert asking_for(params, 2, run=2) == {**params, "promptVersions": 2}


@pytest.mark.parametrize(
    ("label", "seed", "run", "expected"),
    [
        ("fixed", 100, 2, 104),
        ("fixed, third run", 100, 3, 108),
        ("at the end of its range", MAX_SEED, 2, 3),
        ("random by -1", -1, 2, -1),
        ("zero is a seed", 0, 2, 4),
    ],
)
def test_fixed_seed_moves_on_so_that_no_picture_is_made_twice(label, seed, run, expected):
    assert asking_for({**FOUR, "seed": seed}, 2, run=run)["seed"] == expected


def test_params_of_the_caller_stay_as_they_were():
    params = {**FOUR, "seed": 1}
    asking_for(params, 2, run=2)

    assert params == {**FOUR, "seed": 1}
