"""A fault rule may be written in any of the ways that come to mind; what is not understood is named."""

from __future__ import annotations

import pytest

from runware_jobs.emulator.faults.actions import FaultRuleError
from runware_jobs.emulator.faults.judging import Faults


def added(definition):
    [rule] = Faults(seed=1).add(definition, now=0.0)
    return rule.to_json() | {"id": None}


FULL = {
    "taskType": "imageInference",
    "count": 2,
    "action": {"kind": "status", "status": 429, "retry_after": 7},
}


@pytest.mark.parametrize(
    "definition",
    [
        {"task_type": "imageInference", "times": 2, "action": FULL["action"]},
        {"taskType": "imageInference", "count": 2, "kind": "status", "status": 429, "retryAfter": 7},
        {"taskType": "imageInference", "count": 2, "status": 429, "retry_after": 7},
        {
            "tasktype": "imageInference",
            "count": 2,
            "action": {"kind": "Status", "status": 429, "Retry-After": 7},
        },
    ],
)
def test_one_rule_in_several_spellings(definition):
    assert added(definition) == added(FULL)


@pytest.mark.parametrize("form", ["reset_before", {"kind": "reset_before"}, {"name": "reset-before"}])
def test_a_ready_made_rule_in_several_spellings(form):
    assert added(form) == added({"on": "submit", "action": {"kind": "reset"}})


def test_a_ready_made_rule_takes_other_values():
    rule = added({"kind": "rate_limit", "retry_after": 9, "count": 1})

    assert (rule["on"], rule["count"]) == ("submit", 1)
    assert (rule["action"]["status"], rule["action"]["retry_after"]) == (429, 9)


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        ({"kind": "status", "colour": 1}, "colour: no field of a rule"),
        ({"action": {"kind": "status", "colour": 1}}, "action.colour: no field of status"),
        ({"kind": "nonsense"}, "rate_limit"),
        ({}, "action.kind"),
        ({"status": 99}, "action.status: must be from 200 to 599"),
        ({"kind": "stuck", "seed": "x"}, "seed: must be"),
        (5, "must be an object"),
    ],
)
def test_what_is_not_understood_is_named(definition, said):
    with pytest.raises(FaultRuleError, match=said):
        added(definition)


def test_a_rule_with_a_seed_strikes_the_same_tasks_whatever_other_rules_do():
    def struck(*others):
        faults = Faults(seed=1)
        faults.add([*others, {"kind": "stuck", "rate": 0.5, "seed": 3}], now=0.0)
        tasks = [{"taskType": "imageInference", "taskUUID": str(number)} for number in range(40)]
        verdict = faults.judge(tasks, now=1.0)
        return [number for number in range(40) if "stuck" in verdict.of_task(str(number))]

    alone = struck()

    assert 0 < len(alone) < 40
    assert alone == struck({"kind": "lost", "rate": 0.5})
