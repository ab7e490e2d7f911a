"""What a process follows: each task once, neighbours together."""

from __future__ import annotations

from uuid import uuid4

from runware_jobs.core.states import AttemptState, Lane
from runware_jobs.steps.watch import Watch
from runware_jobs.worker.following import Following


def due(at):
    return Watch(task_uuid=uuid4(), lane=Lane.IMAGE, state=AttemptState.ACCEPTED, sent_at=0, due_at=at)


def test_neighbours_in_time_are_taken_together_and_the_rest_waits():
    following = Following()
    first, neighbour, later = due(1.0), due(1.05), due(2.0)
    following.add([later, neighbour, first])

    assert following.take_due(0.9, slack_s=0.1) == []
    assert following.take_due(1.0, slack_s=0.1) == [first, neighbour]
    assert following.next_due_at() == 2.0


def test_a_task_that_is_being_asked_about_is_not_followed_twice():
    following = Following()
    watch = due(1.0)
    following.add([watch])
    taken = following.take_due(1.0, slack_s=0)
    following.add([watch])

    assert following.take_due(1.0, slack_s=0) == []

    following.put_back(taken, taken)

    assert following.take_due(1.0, slack_s=0) == [watch]


def test_what_has_ended_is_followed_no_more_and_may_come_again():
    following = Following()
    watch = due(1.0)
    following.add([watch])
    following.put_back(following.take_due(1.0, slack_s=0), [])

    assert len(following) == 0

    following.add([watch])

    assert len(following) == 1


def test_after_a_lost_lease_an_answer_on_its_way_brings_nothing_back():
    following = Following()
    watch = due(1.0)
    following.add([watch])
    taken = following.take_due(1.0, slack_s=0)
    following.clear()
    following.put_back(taken, taken)

    assert following.next_due_at() is None
