"""The tail that followers share: whatever becomes of hints, each hears each event once, in order."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from runware_jobs.core.tail import Tail


@dataclass(frozen=True)
class Event:
    seq: int


def events(*seqs):
    return [Event(seq) for seq in seqs]


@dataclass
class Follower:
    """One who follows as `Live` lets him: from the tail where it reaches back far enough, else from the table."""

    after: int
    heard: list[int] = field(default_factory=list)

    def take(self, tail, table):
        found = tail.after(self.after)
        if found is None:
            found = [event for event in table if event.seq > self.after][:3]  # a page
        self.heard += [event.seq for event in found]
        self.after = found[-1].seq if found else max(self.after, tail.seq)


def test_what_is_known_already_is_not_told_again():
    tail = Tail(0)
    tail.extend(events(1, 2, 3), seq=3)
    tail.extend(events(2, 3, 4), seq=4)

    assert tail.after(0) == events(1, 2, 3, 4)
    assert tail.after(3) == events(4)


def test_a_look_whose_answer_is_older_changes_nothing():
    tail = Tail(0)
    tail.extend(events(1, 2), seq=2)
    tail.extend(events(1), seq=1)

    assert (tail.seq, tail.after(1)) == (2, events(2))


def test_who_is_too_far_behind_is_sent_to_the_table():
    tail = Tail(0, keep=2)
    tail.extend(events(1, 2, 3), seq=3)

    assert tail.after(0) is None
    assert tail.after(1) == events(2, 3)


def test_events_that_were_dropped_leave_the_number():
    tail = Tail(4)
    tail.extend([], seq=9)

    assert (tail.seq, tail.after(4)) == (9, [])


ACTS = st.one_of(
    st.tuples(st.just("move"), st.integers(1, 4)),
    st.tuples(st.just("look"), st.integers(0, 3)),  # as of how many moves ago
    st.tuples(st.just("come"), st.integers(0, 12)),
    st.tuples(st.just("take"), st.integers(0, 5)),
    st.tuples(st.just("overrun"), st.just(0)),
)


@given(acts=st.lists(ACTS, max_size=60), keep=st.integers(1, 5))
def test_every_follower_hears_every_event_once_and_in_order(acts, keep):
    table, stands, followers = events(1), [1], []
    tail = Tail(1, keep=keep)
    for act, number in acts:
        match act:
            case "move":
                table += events(*range(len(table) + 1, len(table) + 1 + number))
                stands.append(len(table))
            case "look":  # lost hints: none; doubled: again; late: an older mark beside newer events
                seq = stands[-1 - min(number, len(stands) - 1)]
                tail.extend([event for event in table if event.seq > tail.seq], seq=seq)
            case "overrun":  # more than one look reads
                tail.restart(stands[-1])
            case "come":
                start = min(number, len(table))
                followers.append((start, Follower(start)))
            case "take" if followers:
                followers[number % len(followers)][1].take(tail, table)
    tail.extend([event for event in table if event.seq > tail.seq], seq=len(table))
    for _, follower in followers:
        while follower.after < tail.seq:
            follower.take(tail, table)

    for start, follower in followers:
        assert follower.heard == list(range(start + 1, len(table) + 1))
