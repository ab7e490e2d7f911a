"""What a task has cost, whichever way the platform means the `cost` of an item (PROTOCOL 17.9)."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest

from runware_jobs.core.answers import MOST_USD, Answer, CostPer
from runware_jobs.core.decisions import after_answer, after_late_answer
from runware_jobs.core.states import AttemptEnd, AttemptState, JobState
from runware_jobs.steps.words import item_error
from tests.unit.test_outcome_table import live

ITEMS = [
    {"status": "success", "imageUUID": name, "imageURL": f"https://x/{name}", "cost": 0.0039}
    for name in "abc"
]
RUNNING = {"status": "processing"}


@pytest.mark.parametrize(("cost_per", "usd"), [(CostPer.ITEM, "0.0117"), (CostPer.TASK, "0.0039")])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_task_costs_the_same_however_its_results_come_in(cost_per, usd, order):
    """One item more in each answer, those before it repeated, the last answer told twice."""
    known: frozenset[str] = frozenset()
    cost = None
    for count in (1, 2, 3, 3):
        items = tuple(ITEMS[place] for place in order[:count]) + (RUNNING,) * (3 - count)
        attempt = live(
            AttemptState.ACCEPTED,
            results_expected=3,
            known_keys=known,
            known_successes=len(known),
            known_cost_usd=cost,
        )
        move = after_answer(attempt, Answer(items), classify=item_error, random=0.5, cost_per=cost_per)
        known |= {result.key for result in move.results}
        cost = cost if move.cost_usd is None else move.cost_usd

    assert Decimal(usd) == cost


@pytest.mark.parametrize(("cost_per", "usd"), [(CostPer.ITEM, "0.0117"), (CostPer.TASK, "0.0039")])
def test_late_answer_is_counted_alike(cost_per, usd):
    lost = live(
        AttemptState.ENDED,
        job_state=JobState.FAILED,
        results_expected=3,
        known_keys=frozenset({"ua"}),
        known_successes=1,
        known_cost_usd=Decimal("0.0039"),
    )
    move = after_late_answer(lost, Answer(tuple(ITEMS)), classify=item_error, cost_per=cost_per)

    assert (AttemptEnd.SUCCEEDED, Decimal(usd)) == (move.outcome, move.cost_usd)


def test_item_without_a_cost_leaves_what_is_known():
    attempt = live(AttemptState.ACCEPTED, known_cost_usd=Decimal("0.0039"))
    free = {"status": "success", "imageUUID": "d", "imageURL": "https://x/d"}
    move = after_answer(attempt, Answer((free,)), classify=item_error, random=0.5, cost_per=CostPer.TASK)

    assert Decimal("0.0039") == move.cost_usd


def test_costs_that_sum_up_to_more_than_a_column_holds_stop_there():
    attempt = live(AttemptState.ACCEPTED, known_cost_usd=Decimal(99_999_999))
    answer = Answer(tuple(item | {"cost": 9_999} for item in ITEMS))
    move = after_answer(attempt, answer, classify=item_error, random=0.5, cost_per=CostPer.ITEM)

    assert move.cost_usd == MOST_USD


def test_cost_that_nobody_can_believe_is_left_out_and_noted_once():
    attempt = live(AttemptState.ACCEPTED, results_expected=2)
    first = {**ITEMS[0], "cost": 1e12}
    move = after_answer(attempt, Answer((first,)), classify=item_error, random=0.5, cost_per=CostPer.ITEM)
    later = live(AttemptState.ACCEPTED, results_expected=2, steps=move.settlement)
    end = after_answer(later, Answer((first, ITEMS[1])), classify=item_error, random=0.5)

    assert move.cost_usd is None
    assert [(one["step"], one["answer"]) for one in move.settlement] == [("cost", "not believed")]
    assert (end.outcome, end.settlement) == (AttemptEnd.SUCCEEDED, ())
