"""What a process follows: each task once, and as many as fit in a message."""

from __future__ import annotations

from uuid import uuid4

from runware_jobs.core.states import AttemptState, Lane
from runware_jobs.steps.watch import Watch
from runware_jobs.worker.following import Following


def due(at, *, ripe=None):
    return Watch(
        task_uuid=uuid4(),
        lane=Lane.IMAGE,
        learned_as=("m", ""),
        state=AttemptState.ACCEPTED,
        sent_at=0,
        ripe_at=at if ripe is None else ripe,
        due_at=at,
    )


def test_whoever_is_ripe_goes_along_with_who_is_due_and_the_rest_waits():
    following = Following()
    first, ripe, later = due(1.0), due(1.4, ripe=0.9), due(2.0)
    following.add([later, ripe, first])

    assert following.take_group(0.95, size=3) == []
    assert following.take_group(1.0, size=3) == [first, ripe]
    assert following.first_due_at() == 2.0


def test_a_full_message_waits_for_nobody_to_be_due():
    following = Following()
    ripe = [due(5.0, ripe=1.0) for _ in range(3)]
    following.add(ripe)

    assert following.take_group(1.0, size=4) == []
    assert following.take_group(1.0, size=3) == ripe


def test_who_is_due_longest_goes_first_when_not_all_fit():
    following = Following()
    watches = [due(at) for at in (1.3, 1.0, 1.2, 1.1)]
    following.add(watches)

    assert [watch.due_at for watch in following.take_group(2.0, size=3)] == [1.0, 1.1, 1.2]
    assert [watch.due_at for watch in following.take_group(2.0, size=3)] == [1.3]


def test_it_says_when_to_look_again():
    following = Following()

    assert following.next_at(0.0, size=2) is None

    following.add([due(2.0, ripe=1.0), due(3.0, ripe=1.5)])

    assert following.next_at(0.0, size=2) == 1.0  # the first may fill a message
    assert following.next_at(1.4, size=2) == 1.5
    assert following.next_at(1.5, size=2) == 1.5  # they do
    assert following.next_at(1.9, size=3) == 2.0
    assert following.next_at(2.5, size=3) == 2.5


def test_a_task_that_is_being_asked_about_is_not_followed_twice():
    following = Following()
    watch = due(1.0)
    following.add([watch])
    taken = following.take_group(1.0, size=9)
    following.add([watch])

    assert following.take_group(1.0, size=9) == []

    following.put_back(taken, taken)

    assert following.take_group(1.0, size=9) == [watch]


def test_what_has_ended_is_followed_no_more_and_may_come_again():
    following = Following()
    watch = due(1.0)
    following.add([watch])
    following.put_back(following.take_group(1.0, size=9), [])

    assert len(following) == 0

    following.add([watch])

    assert len(following) == 1


def test_after_a_lost_lease_an_answer_on_its_way_brings_nothing_back():
    following = Following()
    watch = due(1.0)
    following.add([watch])
    taken = following.take_group(1.0, size=9)
    following.clear()
    following.put_back(taken, taken)

    assert following.first_due_at() is None


def test_hint_makes_a_task_due_now_also_while_it_is_being_asked_about():
    following = Following()
    waiting, asked = due(60.0), due(1.0)
    following.add([waiting, asked])
    taken = following.take_group(1.0, size=9)
    following.hasten([waiting.task_uuid, asked.task_uuid, uuid4()], 2.0)

    assert following.take_group(2.0, size=9) == [waiting]

    asked.due_at = asked.ripe_at = 90.0
    following.put_back(taken, taken)

    assert following.take_group(2.0, size=9) == [asked]
    assert following.take_group(100.0, size=9) == []  # nobody twice


def test_task_is_not_hastened_to_before_its_least_interval_is_over_nor_put_off():
    following = Following()
    asked, near, away = due(60.0), due(11.0), due(1.0)
    asked.looked_at = near.looked_at = 10.0
    following.add([away])
    taken = following.take_group(1.0, size=9)
    away.looked_at = 10.0
    away.due_at = away.ripe_at = 90.0
    following.add([asked, near])
    for now in (10.5, 11.0):  # the second call changes nothing
        following.hasten([asked.task_uuid, near.task_uuid, away.task_uuid], now, minimum_s=5.0)
    following.put_back(taken, taken)

    assert following.first_due_at() == 11.0
    assert following.take_group(11.0, size=9) == [near]
    assert following.take_group(14.9, size=9) == []
    assert set(map(id, following.take_group(15.0, size=9))) == {id(asked), id(away)}


def test_who_is_to_be_asked_about_alone_waits_for_its_turn_and_takes_nobody_along():
    following = Following()
    first, alone, last, ripe = due(1.0), due(1.1), due(1.2), due(9.0, ripe=1.0)
    alone.is_alone = True
    following.add([first, alone, last, ripe])

    assert following.take_group(2.0, size=100) == [first, ripe, last]
    assert following.take_group(2.0, size=100) == [alone]
    assert following.take_group(2.0, size=100) == []
