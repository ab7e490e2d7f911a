"""The WebSocket session under any order of frames, drops, duplicates, resumes and resends.

No result is lost, none is delivered twice, and no exchange hangs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from runware_jobs.client import create_runware_error
from runware_jobs.client.wire.exchange import Exchange, Kind
from runware_jobs.client.wire.grouping import TaskGroup, encode_task
from runware_jobs.client.wire.ws_session import Arrived, Finished, SessionState, SessionTimes, SocketSession

AUTHENTICATED = json.dumps({"data": [{"taskType": "authentication", "connectionSessionUUID": "s"}]})
TIMES = SessionTimes()
PUSHED = st.sampled_from(["imageInference", "textInference"])


@dataclass
class Pushed:
    """A task with sync delivery, as the platform sees it."""

    task_uuid: str
    task_type: str
    expected: int
    produced: list[dict[str, Any]] = field(default_factory=list)
    undelivered: list[dict[str, Any]] = field(default_factory=list)
    seen_by_client: list[dict[str, Any]] = field(default_factory=list)

    def produce(self) -> dict[str, Any]:
        number = len(self.produced)
        item = {"taskType": self.task_type, "taskUUID": self.task_uuid}
        # A text names neither itself nor its place; a picture does.
        item |= (
            {"text": f"text {number}"}
            if self.task_type == "textInference"
            else {"imageUUID": f"{self.task_uuid}-{number}", "imageURL": "https://im.example/x"}
        )
        self.produced.append(item)
        return item


class SocketLife(RuleBasedStateMachine):
    """A platform and a client with a session between them; the test moves both."""

    def __init__(self) -> None:
        super().__init__()
        self.session = SocketSession("key", TIMES)
        self.now_s = 0.0
        self.names = 0
        self.begun: list[int] = []
        self.replies: dict[int, Any] = {}
        self.heard: dict[int, list[dict[str, Any]]] = {}
        self.pushed: dict[int, Pushed] = {}
        self.groups: dict[int, tuple[Kind, list[str]]] = {}
        self.connect()

    # ---- what the client does -----------------------------------------------------------------

    @precondition(lambda self: self.is_up)
    @rule(task_type=PUSHED, expected=st.integers(1, 3))
    def ask_for_pushed_results(self, task_type: str, expected: int) -> None:
        task = Pushed(self.name(), task_type, expected)
        self.pushed[self.begin([task.task_uuid], Kind.PUSH, task_type, expected)] = task

    @precondition(lambda self: self.is_up)
    @rule(size=st.integers(1, 3), kind=st.sampled_from([Kind.SUBMIT, Kind.POLL]))
    def send_group(self, size: int, kind: Kind) -> None:
        self.send_tasks([self.name() for _ in range(size)], kind)

    @precondition(lambda self: self.is_up and any(t in self.replies for t in self.groups))
    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        ended = [ticket for ticket in self.groups if ticket in self.replies]
        kind, tasks = self.groups[data.draw(st.sampled_from(ended))]
        self.send_tasks(tasks, kind)

    @precondition(lambda self: self.open_tickets)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.open_tickets))
        reply = self.session.give_up(ticket)
        assert reply is not None
        self.end(ticket, reply)

    # ---- what the platform does ---------------------------------------------------------------

    @precondition(lambda self: self.unfinished_pushes)
    @rule(data=st.data(), is_doubled=st.booleans())
    def finish_a_result(self, data: st.DataObject, *, is_doubled: bool) -> None:
        ticket = data.draw(st.sampled_from(self.unfinished_pushes))
        task = self.pushed[ticket]
        item = task.produce()
        if self.is_up:
            self.deliver([item])
            if is_doubled and "imageUUID" in item:
                self.deliver([item])
        else:
            task.undelivered.append(item)

    @precondition(lambda self: self.is_up and self.open_groups)
    @rule(data=st.data(), as_error=st.booleans())
    def answer_a_group_in_part(self, data: st.DataObject, *, as_error: bool) -> None:
        kind, tasks = self.groups[data.draw(st.sampled_from(self.open_groups))]
        answered = data.draw(st.lists(st.sampled_from(tasks), min_size=1, unique=True))
        status = {"status": "processing"} if kind is Kind.POLL else {}
        if as_error:
            code = "invalidModel" if kind is Kind.SUBMIT else "taskNotFound"
            self.hear(errors=[{"code": code, "message": "x", "taskUUID": task} for task in answered])
        else:
            self.hear(data=[{"taskType": "imageInference", "taskUUID": task, **status} for task in answered])

    @precondition(lambda self: self.is_up)
    @rule(
        envelope=st.sampled_from(
            [
                {"data": [{"taskType": "imageInference", "taskUUID": "nobody", "imageURL": "u"}]},
                {"errors": [{"code": "invalidModel", "message": "x", "taskUUID": "nobody"}]},
                {"data": [{"taskType": "ping", "pong": True}]},
                {"data": [{"taskType": "authentication", "connectionSessionUUID": "other"}]},
                {},
            ]
        )
    )
    def say_something_else(self, envelope: dict[str, Any]) -> None:
        self.hear(**envelope)

    # ---- what the network does ----------------------------------------------------------------

    @precondition(lambda self: self.is_up)
    @rule(counts_as_undelivered=st.sampled_from(["all", "the last", "nothing"]))
    def drop(self, counts_as_undelivered: str) -> None:
        """What has arrived here may count as undelivered there all the same."""
        first = {"all": 0, "the last": -1, "nothing": None}[counts_as_undelivered]
        for ticket in self.open_pushes:
            task = self.pushed[ticket]
            task.undelivered += [] if first is None else task.seen_by_client[first:]
        self.take(self.session.lost())

    @precondition(lambda self: self.is_up and any(self.pushed[t].seen_by_client for t in self.open_pushes))
    @rule(data=st.data())
    def drop_and_resume_with_a_full_replay(self, data: st.DataObject) -> None:
        self.drop("all")
        self.resume(data)

    @precondition(lambda self: not self.is_up)
    @rule()
    def fail_to_connect(self) -> None:
        self.session.opened(self.now_s)
        self.take(self.session.lost())
        # That socket's end took the session with it: only what is asked from now on can be answered.
        for ticket in self.open_pushes:
            self.pushed[ticket].undelivered.clear()

    @precondition(lambda self: not self.is_up)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        has_session = self.session.session_uuid is not None
        self.connect()
        replayed = [item for ticket in self.open_pushes for item in self.pushed[ticket].undelivered]
        for ticket in self.open_pushes:
            self.pushed[ticket].undelivered.clear()
        if has_session and replayed:
            self.deliver(data.draw(st.permutations(replayed)))

    @rule(seconds=st.floats(0, 12))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        while self.session.due_at() <= self.now_s and self.is_up:
            due_s = self.session.due_at()
            self.take(self.session.tick(due_s))
            self.take(self.session.receive('{"data":[{"taskType":"ping","pong":true}]}', due_s))

    # ---- the promises -------------------------------------------------------------------------

    def teardown(self) -> None:
        for ticket in self.open_tickets:
            reply = self.session.give_up(ticket)
            assert reply is not None
            self.end(ticket, reply)

        assert sorted(self.replies) == self.begun
        assert self.session.abandon(create_runware_error("disconnected", "over")) == []
        for ticket, task in self.pushed.items():
            assert list(self.replies[ticket].of(task.task_uuid).items) == task.seen_by_client
            assert self.heard.get(ticket, []) == task.seen_by_client

    # ---- inside -------------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        return self.session.state is SessionState.UP

    @property
    def open_tickets(self) -> list[int]:
        return [ticket for ticket in self.begun if ticket not in self.replies]

    @property
    def open_pushes(self) -> list[int]:
        return [ticket for ticket in self.open_tickets if ticket in self.pushed]

    @property
    def open_groups(self) -> list[int]:
        return [ticket for ticket in self.open_tickets if ticket in self.groups]

    @property
    def unfinished_pushes(self) -> list[int]:
        return [t for t in self.open_pushes if len(self.pushed[t].produced) < self.pushed[t].expected]

    def name(self) -> str:
        self.names += 1
        return f"task-{self.names}"

    def connect(self) -> None:
        self.take(self.session.opened(self.now_s))
        self.take(self.session.receive(AUTHENTICATED, self.now_s))

    def send_tasks(self, tasks: list[str], kind: Kind) -> None:
        task_type = "getResponse" if kind is Kind.POLL else "imageInference"
        self.groups[self.begin(tasks, kind, task_type)] = kind, tasks

    def begin(self, tasks: list[str], kind: Kind, task_type: str, expected: int = 1) -> int:
        encoded = tuple(encode_task({"taskType": task_type, "taskUUID": task}) for task in tasks)
        ticket, _ = self.session.begin(
            Exchange(
                group=TaskGroup(encoded), kind=kind, timeout_s=1, expected=expected, on_item=lambda _: None
            )
        )
        self.begun.append(ticket)
        return ticket

    def deliver(self, items: list[dict[str, Any]]) -> None:
        by_task = {self.pushed[t].task_uuid: self.pushed[t] for t in self.open_pushes}
        for item in items:
            task = by_task.get(item["taskUUID"])
            if task is not None and item not in task.seen_by_client:
                task.seen_by_client.append(item)
        self.hear(data=items)

    def hear(self, **envelope: Any) -> None:
        self.take(self.session.receive(json.dumps(envelope), self.now_s))

    def take(self, effects: list[Any]) -> None:
        for effect in effects:
            match effect:
                case Arrived(ticket, item):
                    self.heard.setdefault(ticket, []).append(item)
                case Finished(ticket, reply):
                    self.end(ticket, reply)

    def end(self, ticket: int, reply: Any) -> None:
        assert ticket not in self.replies, "an exchange ended twice"
        self.replies[ticket] = reply


SocketLife.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
test_no_result_is_lost_or_doubled_and_nothing_hangs = SocketLife.TestCase
