"""The session without a socket: orders of frames, drops and instants that a real socket rarely shows."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runware_jobs.client.wire.exchange import Exchange, Kind
from runware_jobs.client.wire.grouping import TaskGroup, encode_task
from runware_jobs.client.wire.ws_session import (
    PING_FRAME,
    BecameUp,
    Drop,
    Finished,
    Rejected,
    Send,
    SessionState,
    SessionTimes,
    SocketSession,
    Stray,
)

AUTHENTICATED = json.dumps({"data": [{"taskType": "authentication", "connectionSessionUUID": "s"}]})


def exchange(*task_uuids, kind=Kind.SUBMIT, task_type="imageInference", **options):
    tasks = tuple(encode_task({"taskType": task_type, "taskUUID": task_uuid}) for task_uuid in task_uuids)
    return Exchange(group=TaskGroup(tasks), kind=kind, timeout_s=1, **options)


def item(task_uuid, task_type="imageInference", **fields):
    return {"taskType": task_type, "taskUUID": task_uuid, **fields}


def frame(*items, errors=()):
    return json.dumps({"data": list(items), **({"errors": list(errors)} if errors else {})})


@pytest.fixture
def session():
    made = SocketSession("key", SessionTimes())
    made.opened(0.0)
    made.receive(AUTHENTICATED, 0.0)
    return made


def finished(effects):
    return {effect.ticket: effect.reply for effect in effects if isinstance(effect, Finished)}


def test_stray_frames_before_the_auth_answer_do_no_harm():
    session = SocketSession("key")
    session.opened(0.0)
    effects = session.receive(frame(item("x")), 0.1)

    assert effects == [Stray("item_of_no_request", "x")]
    assert session.receive(AUTHENTICATED, 0.2) == [BecameUp()]


def test_refused_key_is_final_until_asked_again():
    session = SocketSession("key")
    session.opened(0.0)
    effects = session.receive(frame(errors=[{"code": "invalidApiKey", "message": "no"}]), 0.1)
    session.lost()

    assert isinstance(effects[0], Rejected)
    assert session.state is SessionState.REJECTED


def test_expired_session_is_tried_as_a_new_one(session):
    session.lost()
    resume = session.opened(5.0)
    again = session.receive(
        frame(errors=[{"code": "invalidSession", "message": "x", "taskType": "authentication"}]), 5.1
    )

    assert "connectionSessionUUID" in resume[0].frame
    assert isinstance(again[0], Send)
    assert "connectionSessionUUID" not in again[0].frame


def test_auth_that_is_not_answered_drops_the_line():
    session = SocketSession("key", SessionTimes(auth_s=15))
    session.opened(0.0)

    assert session.tick(14.9) == []
    assert isinstance(session.tick(15.0)[0], Drop)


def test_heartbeat_pings_and_any_frame_counts_as_life(session):
    assert session.due_at() == 30.0
    assert session.tick(30.0) == [Send(PING_FRAME)]
    session.receive(frame(item("x")), 31.0)

    assert session.tick(50.0) == []


def test_half_open_line_is_dropped(session):
    session.tick(30.0)

    assert session.tick(44.9) == []
    assert isinstance(session.tick(45.0)[0], Drop)


def test_drop_ends_what_was_written(session):
    ticket, _ = session.begin(exchange("a", "b"))
    session.receive(frame(item("a")), 1.0)
    reply = finished(session.lost())[ticket]

    assert reply.failure is not None
    assert reply.was_written
    assert reply.of("a").items
    assert not reply.of("b").items


def test_pushed_result_may_be_replayed_after_a_resume(session):
    ticket, _ = session.begin(exchange("a", kind=Kind.PUSH))
    lost = session.lost()
    session.opened(3.0)
    session.receive(AUTHENTICATED, 3.1)
    replayed = session.receive(frame(item("a", imageURL="u")), 3.2)

    assert lost == []
    assert finished(replayed)[ticket].of("a").items[0]["imageURL"] == "u"


def test_pushed_result_that_is_not_replayed_fails(session):
    ticket, _ = session.begin(exchange("a", kind=Kind.PUSH))
    session.lost()
    session.opened(3.0)
    session.receive(AUTHENTICATED, 3.0)

    assert finished(session.tick(12.9)) == {}
    assert finished(session.tick(13.0))[ticket].failure is not None


def test_error_that_names_nobody_kills_nobody(session):
    session.begin(exchange("a"))
    session.begin(exchange("b"))

    assert session.receive(frame(errors=[{"code": "somethingOdd", "message": "x"}]), 1.0) == [
        Stray("error_without_task", "somethingOdd")
    ]


def test_error_that_names_nobody_is_for_the_only_one_who_waits(session):
    ticket, _ = session.begin(exchange("a"))
    effects = session.receive(frame(errors=[{"code": "somethingOdd", "message": "x"}]), 1.0)

    assert finished(effects)[ticket].unscoped[0].message == "x"


def test_missing_credits_belong_to_a_submit_and_never_to_a_question(session):
    submit, _ = session.begin(exchange("a"))
    session.begin(exchange("b", kind=Kind.POLL, task_type="getResponse"))
    effects = session.receive(frame(errors=[{"code": "insufficientCredits", "message": "x"}]), 1.0)

    assert list(finished(effects)) == [submit]


def test_ack_and_poll_answer_of_one_task_find_their_requests(session):
    submit, _ = session.begin(exchange("a"))
    poll, _ = session.begin(exchange("a", kind=Kind.POLL, task_type="getResponse"))

    assert list(finished(session.receive(frame(item("a", status="processing")), 1.0))) == [poll]
    assert list(finished(session.receive(frame(item("a")), 1.0))) == [submit]


def test_poll_accepts_both_task_types_of_an_answer(session):
    for task_type in ("imageInference", "getResponse"):
        ticket, _ = session.begin(exchange("a", kind=Kind.POLL, task_type="getResponse"))

        assert list(finished(session.receive(frame(item("a", task_type, status="processing")), 1.0))) == [
            ticket
        ]


def test_partly_answered_poll_settles_soon(session):
    ticket, _ = session.begin(exchange("a", "b", kind=Kind.POLL, task_type="getResponse"))
    assert finished(session.receive(frame(item("a", status="processing")), 1.0)) == {}
    assert finished(session.tick(session.due_at())).keys() == {ticket}


def test_empty_answer_is_for_the_only_one_who_waits(session):
    ticket, _ = session.begin(exchange("a", kind=Kind.POLL, task_type="getResponse"))
    assert finished(session.receive(frame(), 1.0)).keys() == {ticket}

    session.begin(exchange("a", kind=Kind.POLL, task_type="getResponse"))
    session.begin(exchange("b", kind=Kind.POLL, task_type="getResponse"))
    assert finished(session.receive(frame(), 1.0)) == {}


def test_pushed_results_end_with_the_expected_number(session):
    ticket, _ = session.begin(exchange("a", kind=Kind.PUSH, expected=2, on_item=lambda _: None))

    assert finished(session.receive(frame(item("a", text="1")), 1.0)) == {}
    assert len(finished(session.receive(frame(item("a", text="2")), 1.0))[ticket].of("a").items) == 2


def test_reply_that_comes_after_giving_up_is_stray(session):
    ticket, _ = session.begin(exchange("a"))
    session.give_up(ticket)

    assert session.receive(frame(item("a")), 1.0) == [Stray("item_of_no_request", "a")]


def resumed(session, now_s):
    session.opened(now_s)
    return session.receive(AUTHENTICATED, now_s)


def test_resume_that_ends_the_line_is_followed_by_a_new_session(session):
    session.lost()
    first = session.opened(5.0)
    session.lost()
    second = session.opened(9.0)

    assert "connectionSessionUUID" in first[0].frame
    assert "connectionSessionUUID" not in second[0].frame


@pytest.mark.parametrize(
    "error",
    [
        {"code": "sessionExpired", "message": "x"},
        {"code": "invalidConnectionSessionUUID", "message": "x"},
        {"code": "unauthorized", "message": "x", "taskType": "authentication"},
    ],
    ids=lambda error: error["code"],
)
def test_refused_resume_becomes_a_new_session_and_ends_no_request(session, error):
    session.begin(exchange("a", kind=Kind.PUSH))
    session.lost()
    session.opened(5.0)
    effects = session.receive(frame(errors=[error]), 5.1)

    assert [type(effect) for effect in effects] == [Send]
    assert "connectionSessionUUID" not in effects[0].frame
    assert session.receive(AUTHENTICATED, 5.2) == [BecameUp()]


def test_refused_key_of_a_resume_is_refused(session):
    session.lost()
    session.opened(5.0)
    effects = session.receive(frame(errors=[{"code": "invalidApiKey", "message": "x"}]), 5.1)

    assert isinstance(effects[0], Rejected)


def test_request_is_not_written_where_a_pong_is_overdue(session):
    session.tick(30.0)

    assert session.is_usable(44.9)
    assert not session.is_usable(45.0)
    session.receive(frame(item("x")), 45.0)
    assert session.is_usable(45.1)


@pytest.mark.parametrize(
    "results",
    [
        [{"imageUUID": "1", "imageURL": "u"}, {"imageUUID": "2", "imageURL": "u"}],
        [{"text": "one"}, {"text": "two"}],
    ],
    ids=["media", "texts"],
)
def test_what_a_resumed_session_delivers_again_counts_once(session, results):
    first, second = (item("a", **fields) for fields in results)
    ticket, _ = session.begin(exchange("a", kind=Kind.PUSH, expected=2))
    session.receive(frame(first), 1.0)
    session.lost()
    resumed(session, 3.0)
    session.receive(frame(first), 3.1)
    effects = session.receive(frame(second), 3.2)

    assert finished(effects)[ticket].of("a").items == (first, second)


def test_texts_that_are_alike_are_two_results(session):
    ticket, _ = session.begin(exchange("a", kind=Kind.PUSH, expected=2))
    effects = session.receive(frame(item("a", text="same"), item("a", text="same")), 1.0)

    assert len(finished(effects)[ticket].of("a").items) == 2


def test_text_like_one_that_was_replayed_is_a_new_result(session):
    ticket, _ = session.begin(exchange("a", kind=Kind.PUSH, expected=2))
    text = frame(item("a", text="same"))
    session.receive(text, 1.0)
    session.lost()
    resumed(session, 3.0)

    assert finished(session.receive(text, 3.1)) == {}
    assert len(finished(session.receive(text, 3.2))[ticket].of("a").items) == 2


def test_phase_that_is_told_twice_is_heard_once(session):
    session.begin(exchange("a", kind=Kind.PHASES, task_type="modelUpload", on_item=lambda _: None))
    stored = frame(item("a", "modelUpload", status="stored"))

    assert len(session.receive(stored, 1.0)) == 1
    assert session.receive(stored, 1.1) == []


def test_failed_result_leaves_time_for_the_others(session):
    ticket, _ = session.begin(exchange("a", kind=Kind.PUSH, expected=3))
    failure = {"code": "providerError", "message": "x", "taskUUID": "a"}
    session.receive(frame(errors=[failure]), 1.0)
    effects = session.receive(frame(item("a", imageUUID="1", imageURL="u")), 2.0)

    assert finished(effects) == {}
    reply = finished(session.tick(session.due_at()))[ticket]
    assert (len(reply.of("a").items), len(reply.of("a").errors), reply.failure) == (1, 1, None)


def test_refused_request_ends_at_once_however_many_results_it_asked_for(session):
    ticket, _ = session.begin(exchange("a", kind=Kind.PUSH, expected=3))
    refusal = {"code": "invalidWidth", "message": "x", "taskUUID": "a"}

    assert finished(session.receive(frame(errors=[refusal]), 1.0)).keys() == {ticket}


@pytest.mark.parametrize(
    ("kind", "is_retryable"), [(Kind.PUSH, False), (Kind.PHASES, False), (Kind.POLL, True)]
)
def test_lost_answer_is_retryable_only_where_it_can_be_asked_for_again(kind, is_retryable):
    session = SocketSession("key")
    session.opened(0.0)
    ticket, _ = session.begin(exchange("a", kind=kind))

    assert finished(session.lost())[ticket].failure.retryable is is_retryable


def test_instants_come_in_their_order_and_not_in_the_order_of_requests(session):
    for name, at_s in (("b", 3.0), ("a", 1.0), ("c", 2.0)):
        session.begin(exchange(name, f"{name}2", kind=Kind.POLL, task_type="getResponse"))
        session.receive(frame(item(name, status="processing")), at_s)
    dues = []
    while finished(session.tick(due := session.due_at())):
        dues.append(due)

    assert dues == [1.25, 2.25, 3.25]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["a", "b", "imageInference"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["data", "errors", "error", "taskUUID", "taskType", "status", "code", "message", "parameter"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("receive"), JSON.map(json.dumps) | st.text(max_size=10)),
        st.tuples(st.just("ack"), st.sampled_from(["a", "b"])),
        st.tuples(st.just("begin"), st.sampled_from(list(Kind))),
        st.tuples(st.just("lost"), st.none()),
        st.tuples(st.just("up"), st.none()),
        st.tuples(st.just("give_up"), st.integers(0, 5)),
        st.tuples(st.just("tick"), st.floats(0, 60)),
    ),
    max_size=25,
)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_every_exchange_ends_exactly_once_whatever_arrives(steps):
    session = SocketSession("key")
    begun, ended, now = [], [], 0.0
    for name, value in steps:
        effects = []
        match name:
            case "receive":
                effects = session.receive(value, now)
            case "ack":
                effects = session.receive(frame(item(value)), now)
            case "begin":
                task_type = "getResponse" if value is Kind.POLL else "imageInference"
                begun.append(
                    session.begin(
                        exchange("a", "b", kind=value, task_type=task_type, on_item=lambda _: None)
                    )[0]
                )
            case "lost":
                effects = session.lost()
            case "up":
                session.opened(now)
                effects = session.receive(AUTHENTICATED, now)
            case "give_up":
                ended += [value] if session.give_up(value) is not None else []
            case "tick":
                now += value
                effects = session.tick(now)
        ended += finished(effects)
    ended += finished(session.abandon(closed()))

    assert sorted(ended) == begun


def closed():
    from runware_jobs.client import create_runware_error

    return create_runware_error("disconnected", "closed")
