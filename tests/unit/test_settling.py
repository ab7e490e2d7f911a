"""How doubt ends: one round of a settlement, in a table of cases (DESIGN 4)."""

from __future__ import annotations

import pytest

from runware_jobs.core.answers import Answer, JobError
from runware_jobs.core.settling import (
    Patience,
    after_doubt,
    divides_on,
    lost_after_s,
    next_probe_s,
    stuck_after_s,
)
from runware_jobs.core.states import AttemptEnd, AttemptState, Billing, JobState, Lane
from runware_jobs.steps.words import item_error
from tests.unit.test_outcome_table import ACCEPTED, DONE, ENDED, FAILED, RUNNING, UNCLEAR, live

PATIENCE = Patience(
    lost_after_s=3600, stuck_after_s=86_400, resend_after_s=0.5, resend_within_s=86_400, resends=True
)
NOTHING = Answer()
REFUSED = Answer(errors=(JobError("validation", "no"),))
BUSY = Answer(errors=(JobError("rateLimit", "full"),))
ACK = Answer(({"taskType": "imageInference"},))
TURNED_AWAY = ({"step": "send", "answer": "busy"},)
UPLOAD = {"lane": Lane.UPLOAD, "task_type": "mediaStorage"}


def doubt(attempt, archived, *, patience=PATIENCE, account_is_open=True, late_s=None, was_refused=False):
    return after_doubt(
        attempt,
        archived,
        patience,
        account_is_open=account_is_open,
        late_s=late_s,
        classify=item_error,
        random=0.5,
        was_refused=was_refused,
    )


@pytest.mark.parametrize(
    ("label", "archived", "changes", "resent"),
    [
        ("both said unknown", NOTHING, {}, True),
        ("the archive did not answer", None, {}, None),
        ("it was resent before", NOTHING, {"was_resent": True, "resent_s": 60.0}, None),
        ("it is too old", NOTHING, {"age_s": 90_000.0}, None),
        ("it may still be on its way", NOTHING, {"age_s": 0.4}, None),
        ("its job was canceled", NOTHING, {"job_state": JobState.CANCELED}, None),
        ("its deadline has passed", NOTHING, {"is_late": True}, None),
        ("another run has begun", NOTHING, {"job_run": 2}, None),
        ("the archive has an older refusal only", BUSY, {"steps": TURNED_AWAY}, True),
        ("an upload, once more", NOTHING, {**UPLOAD, "was_resent": True, "resent_s": 60.0}, True),
        ("an upload, just resent", NOTHING, {**UPLOAD, "was_resent": True, "resent_s": 1.0}, None),
    ],
)
def test_sent_again_only_where_all_of_it_is_true(label, archived, changes, resent):
    assert resent is doubt(live(UNCLEAR, **changes), archived).resent


def test_paused_account_sends_nothing_and_gives_up_nothing():
    attempt = live(UNCLEAR, unknown_s=5_000.0, steps=({"step": "archive", "answer": "unknown"},))
    move = doubt(attempt, NOTHING, account_is_open=False)

    assert (move.resent, move.outcome) == (None, None)


@pytest.mark.parametrize(
    ("label", "archived", "changes", "attempt_to", "job_to"),
    [
        ("results", DONE, {}, ENDED, JobState.SUCCEEDED),
        ("results, also after a resend", DONE, {"was_resent": True}, ENDED, JobState.SUCCEEDED),
        ("its end", REFUSED, {}, ENDED, FAILED),
        ("a refusal after a resend: a duplicate's, perhaps", REFUSED, {"was_resent": True}, None, None),
        ("an older refusal", BUSY, {"steps": TURNED_AWAY, "was_resent": True}, None, None),
        ("another end than the older refusal", REFUSED, {"steps": TURNED_AWAY}, ENDED, FAILED),
        ("its acceptance", ACK, {}, ACCEPTED, RUNNING),
        ("that a duplicate was refused", Answer(is_known=True), {}, ACCEPTED, RUNNING),
    ],
)
def test_archive_settles_what_it_can_know(label, archived, changes, attempt_to, job_to):
    move = doubt(live(UNCLEAR, **changes), archived)

    assert attempt_to is move.attempt_to
    assert job_to is move.job_to


@pytest.mark.parametrize(
    ("label", "archived", "changes", "outcome"),
    [
        ("unknown for too long", NOTHING, {"unknown_s": 3_600.0}, AttemptEnd.LOST),
        ("not yet", NOTHING, {"unknown_s": 3_599.0}, None),
        (
            "a training is not lost after an hour",
            NOTHING,
            {"unknown_s": 7_200.0, "lane": Lane.TRAINING},
            None,
        ),
        ("the archive does not answer", None, {"unknown_s": 7_200.0}, None),
        ("the archive never answers", None, {"unknown_s": 90_000.0}, AttemptEnd.LOST),
        ("the archive knows its acceptance only", ACK, {"unknown_s": 7_200.0}, AttemptEnd.LOST),
    ],
)
def test_accepted_and_unknown_everywhere_is_lost_in_its_time(label, archived, changes, outcome):
    steps = ({"step": "getResponse", "answer": "unknown"}, {"step": "archive", "answer": "known"})
    move = doubt(live(ACCEPTED, accepted_s=9_000.0, steps=steps, **changes), archived)

    assert outcome is move.outcome
    assert (Billing.UNCLEAR if outcome else None) is move.billing


def test_unknown_counts_from_the_resend():
    move = doubt(live(UNCLEAR, was_resent=True, resent_s=10.0, unknown_s=9_000.0), NOTHING)

    assert move.outcome is None


def test_what_was_learned_makes_patience_longer_never_shorter():
    assert lost_after_s(Lane.VIDEO, PATIENCE, 10_000.0) == 30_000
    assert lost_after_s(Lane.VIDEO, PATIENCE, 10.0) == 7_200
    assert stuck_after_s(Lane.IMAGE, PATIENCE, 10_000.0) == 200_000
    assert stuck_after_s(Lane.IMAGE, PATIENCE, None) == 86_400


def test_upload_whose_answer_is_gone_is_made_anew():
    move = doubt(live(ACCEPTED, **UPLOAD), NOTHING)

    assert (move.attempt_to, move.outcome, move.job_to) == (ENDED, AttemptEnd.FAILED, JobState.QUEUED)


def test_round_that_finds_nothing_new_writes_nothing():
    steps = ({"step": "getResponse", "answer": "unknown"}, {"step": "archive", "answer": "unknown"})
    move = doubt(live(AttemptState.ACCEPTED, unknown_s=10.0, steps=steps), NOTHING)

    assert move.changes_nothing


@pytest.mark.parametrize("state", [ACCEPTED, UNCLEAR])
def test_task_that_may_not_be_asked_about_is_neither_sent_again_nor_given_up_before_it_counts_as_stuck(state):
    young = live(state, refused_s=80_000.0, age_s=100_000.0)
    old = live(state, refused_s=90_000.0, age_s=100_000.0)
    first = doubt(live(state), NOTHING, was_refused=True)

    assert (first.settlement[0]["answer"], first.resent, first.outcome) == ("refused", None, None)
    assert doubt(young, NOTHING, was_refused=True).outcome is None
    assert doubt(old, None, was_refused=True).outcome is AttemptEnd.LOST
    assert doubt(old, NOTHING, was_refused=True).billing is Billing.UNCLEAR


def test_results_of_a_task_that_may_not_be_asked_about_are_taken_from_the_archive():
    assert doubt(live(ACCEPTED), DONE, was_refused=True).outcome is AttemptEnd.SUCCEEDED


def test_task_that_is_unknown_and_refused_in_turns_is_unknown_since_the_first():
    attempt = live(ACCEPTED, unknown_s=90_000.0, steps=({"step": "getResponse", "answer": "unknown"},))
    move = doubt(attempt, None, was_refused=True)

    assert (move.outcome, move.settlement) == (AttemptEnd.LOST, ())


@pytest.mark.parametrize(
    ("label", "questions", "answered", "goes_on"),
    [
        ("at first", 0, 0, True),
        ("nobody is answered yet", 7, 0, True),
        ("nobody is answered at all", 8, 0, False),
        ("the others are", 8, 1, True),
        ("too many spoil it for one turn", 32, 9, False),
    ],
)
def test_group_is_divided_while_that_leads_somewhere(label, questions, answered, goes_on):
    assert goes_on is divides_on(questions, answered=answered)


def test_outage_is_asked_about_ever_more_seldom():
    pauses = [next_probe_s(in_vain) for in_vain in (0, 1, 2, 8, 9, 1_000_000)]

    assert pauses == [1, 2, 4, 256, 300, 300]
