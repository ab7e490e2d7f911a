"""The platform itself, free of any transport: a list of tasks goes in, what it says goes out.

Holds the tasks, settles them (money, ledger, listeners) as their items finish, and answers submits and
polls. The utilities live in utilities.py; REST and WebSocket wrap what comes from here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson

from .accounts import Account, Accounts
from .catalogue import Catalogue
from .clock import Clock, Schedule
from .errors import Refusal, error_entry, status_of
from .faults import NO_FAULT, Action, Faults, Verdict
from .kinds import Kind, kind_of, result_count
from .ledger import Entry, Ledger
from .prices import MICRO_PER_USD, micro_usd, price_micro_usd
from .results import Renderer, Results
from .tasks import NEVER, Failure, Task, finish_times, latency_for, new_task, task_seed
from .utilities import UTILITIES
from .validate import check_task, check_uuid, unknown_task_type

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .config import Config
    from .media import Media


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a message, and how. `base_url` is the address the caller reached us by."""

    account: Account
    base_url: str
    websocket: bool = False
    dry_run: bool = False


@dataclass(slots=True)
class Answer:
    """What the platform says at once. `waiting` are sync tasks whose items follow when they finish."""

    data: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    waiting: list[Task] = field(default_factory=list)

    @property
    def status(self) -> int:
        """200 as soon as anything was said or is coming; else the status of the first error."""
        if self.data or self.waiting or not self.errors or "status" in self.errors[0]:
            return HTTPStatus.OK
        return status_of(self.errors[0]["code"])

    def envelope(self) -> dict[str, Any]:
        """`data` always, `errors` only where there are any (an empty list makes old SDKs fail)."""
        return {"data": self.data, "errors": self.errors} if self.errors else {"data": self.data}


class Platform:
    """Everything the emulated platform knows. Not thread-safe: one event loop owns it."""

    def __init__(self, config: Config, clock: Clock, render: Renderer) -> None:
        self.config = config
        self.clock = clock
        self.schedule = Schedule(clock)
        self.switches = config.switches
        self.latencies = dict(config.latencies)
        self.catalogue = Catalogue(config.registry_path)
        self.accounts = Accounts(micro_usd(config.balance_usd))
        self.ledger = Ledger()
        self.faults = Faults(config.seed)
        self.faults.add(list(config.faults), clock.now_s())
        self.results = Results(render)
        self.tasks: dict[str, Task] = {}
        self.items: dict[str, tuple[Task, int]] = {}
        self.media: dict[str, Media] = {}
        self.archive_overrides: dict[str, dict[str, Any]] = {}
        self.on_accept: Callable[[Task], None] | None = None
        self.dirty_tasks: set[str] = set()
        self.dirty_media: set[str] = set()

    def answer(
        self, tasks: Sequence[Mapping[str, Any]], caller: Caller, verdict: Verdict = NO_FAULT
    ) -> Answer:
        """Handle every task of a message, each independent of the others."""
        answer = Answer()
        now = self.clock.now_s()
        for task in tasks:
            task_type = task.get("taskType")
            if task_type == "getResponse":
                self._poll(task, caller, answer, now)
                continue
            kind = kind_of(task_type) if isinstance(task_type, str) else None
            if kind is not None:
                self._submit(task, kind, caller, answer, now, verdict.of_task(task.get("taskUUID")))
                continue
            utility = UTILITIES.get(task_type) if isinstance(task_type, str) else None
            refusal = unknown_task_type(task_type) if utility is None else None
            if utility is not None:
                refusal = None if task_type == "ping" else check_uuid(task)
                result = refusal or utility(self, task, caller)
                if isinstance(result, Refusal):
                    refusal = result
                else:
                    answer.data.append(result)
            if refusal is not None:
                answer.errors.append(_entry(refusal, task))
        return answer

    def count_message(self, tasks: Sequence[Mapping[str, Any]], *, websocket: bool) -> None:
        """Book one request message."""
        types = [task.get("taskType") for task in tasks]
        self.ledger.request(
            websocket=websocket,
            submits=any(isinstance(one, str) and kind_of(one) is not None for one in types),
            polls="getResponse" in types,
        )

    def refuse_message(self, tasks: Sequence[Mapping[str, Any]]) -> None:
        """Book the submits of a message that was refused as a whole before it was looked at."""
        for task in tasks:
            kind = kind_of(str(task.get("taskType")))
            if kind is not None:
                self.ledger.refused(self._arrived(task))

    def settle(self, task: Task, now: float) -> None:
        """Book every item that has finished by `now` and was not booked yet; tell the listeners."""
        finished = task.finished(now)
        if finished == task.settled or task.lost:
            return
        entry = self.ledger.entries[task.uuid]
        account = self.accounts.by_uuid[task.account]
        fresh = range(task.settled, finished)
        for index in fresh:
            self._settle_item(task, index, entry, account)
        task.settled = finished
        if finished == len(task.finish_at):
            self._settle_end(task, entry)
        self.dirty_tasks.add(task.uuid)
        for listener in list(task.listeners):
            listener(task, fresh)
        if finished == len(task.finish_at):
            task.listeners.clear()

    def known(self, task_uuid: Any, account: Account) -> Task | None:
        """The account's task, as long as getResponse still knows it."""
        task = self.tasks.get(task_uuid) if isinstance(task_uuid, str) else None
        if task is None or task.lost or task.account != account.organization_uuid:
            return None
        if task.ends_at + self.switches.retention_s < self.clock.now_s():
            return None
        return task

    def adopt(self, task: Task) -> None:
        """Take a task of a state file: it goes on as if nothing had happened."""
        self.tasks[task.uuid] = task
        for index in range(task.settled):
            self.items[task.item_uuid(index)] = (task, index)
        self._watch(task)
        self._await_next(task)

    def reset(self) -> None:
        """Forget tasks, media, money and the ledger; latencies, switches and faults stay.

        What the schedule still holds for a forgotten task does nothing when its time comes.
        """
        self.tasks.clear()
        self.items.clear()
        self.media.clear()
        self.archive_overrides.clear()
        self.accounts.clear()
        self.ledger = Ledger()
        self.dirty_tasks.clear()
        self.dirty_media.clear()

    def _poll(self, request: Mapping[str, Any], caller: Caller, answer: Answer, now: float) -> None:
        refusal = check_uuid(request)
        if refusal is not None:
            answer.errors.append(_entry(refusal, request))
            return
        task_uuid = request["taskUUID"]
        entry = self.ledger.entries.get(task_uuid)
        if entry is not None:
            entry.polls += 1
        task = self.known(task_uuid, caller.account)
        if task is None:
            if self.switches.unknown_task == "error":
                unknown = Refusal("taskNotFound", f"No task with UUID '{task_uuid}' was found.", "taskUUID")
                answer.errors.append(_entry(unknown, request))
            return
        self.settle(task, now)
        for is_error, item in self.results.polled(task, now, self.switches):
            (answer.errors if is_error else answer.data).append(item)

    def _submit(
        self,
        request: Mapping[str, Any],
        kind: Kind,
        caller: Caller,
        answer: Answer,
        now: float,
        faults: Mapping[str, Action],
    ) -> None:
        entry = self._arrived(request)
        refusal = check_task(request, kind, self.catalogue) or _injected_refusal(faults)
        duplicate = refusal is None and request["taskUUID"] in self.tasks
        if duplicate:
            refusal = Refusal(
                "conflictTaskUUID",
                f"A task with UUID '{request['taskUUID']}' already exists. Use a unique UUID for each task.",
                "taskUUID",
            )
        price = 0 if refusal is not None else price_micro_usd(kind, request)
        count = 1 if refusal is not None else result_count(kind, request)
        account = caller.account
        if refusal is None and (
            account.available_micro_usd <= 0 or price * count > account.available_micro_usd
        ):
            refusal = Refusal(
                "insufficientCredits", "Insufficient credits. Please add funds to your account."
            )
        if refusal is not None:
            error = _entry(refusal, request)
            if duplicate:
                self.ledger.duplicate(entry)
                error["context"] = {name: request[name] for name in _CONTEXT if name in request}
                if self.switches.duplicate_overwrites_archive:
                    self.archive_overrides[request["taskUUID"]] = {"errors": [error]}
            else:
                self.ledger.refused(entry)
            answer.errors.append(error)
            return
        if caller.dry_run:
            self.ledger.totals.dry_runs += 1
            item = {"taskType": request["taskType"], "taskUUID": request["taskUUID"], "dryRun": True}
            answer.data.append({**item, "cost": price * count / MICRO_PER_USD})
            return
        task = self._accept(request, kind, caller, entry, price=price, count=count, now=now, faults=faults)
        self._respond(task, caller, answer)

    def _accept(
        self,
        request: Mapping[str, Any],
        kind: Kind,
        caller: Caller,
        entry: Entry,
        *,
        price: int,
        count: int,
        now: float,
        faults: Mapping[str, Action],
    ) -> Task:
        task_uuid = request["taskUUID"]
        seed = self.config.seed
        finish_at = finish_times(
            task_uuid,
            kind,
            count,
            accepted_at=now,
            latency=latency_for(kind, self.latencies),
            speed=self.config.speed,
            seed=seed,
        )
        if "stuck" in faults:
            finish_at = (NEVER,) * count
        task = new_task(
            request,
            kind,
            account=caller.account.organization_uuid,
            accepted_at=now,
            finish_at=finish_at,
            price_micro_usd=price,
            base_url=caller.base_url,
            seed=task_seed(request, task_uuid, seed),
        )
        task.failure = _injected_failure(faults)
        task.lost = "lost" in faults
        self.tasks[task_uuid] = task
        self.ledger.accepted(entry, now)
        if task.lost or "stuck" in faults:
            entry.state = "lost" if task.lost else "stuck"
        if not task.lost:
            caller.account.held_micro_usd += price * count
            self._await_next(task)
        self.dirty_tasks.add(task_uuid)
        self._watch(task)
        return task

    def _respond(self, task: Task, caller: Caller, answer: Answer) -> None:
        """Acknowledge, or let the transport wait for a sync task. Uploads push phases on a WebSocket."""
        if task.kind.shape == "phases" and task.delivery == "sync":
            waits = caller.websocket or b'"deliveryMethod"' in task.request
        else:
            waits = task.delivery != "async" and task.webhook_url is None
        if waits and not task.lost:
            answer.waiting.append(task)
        else:
            answer.data.append(self.results.acknowledgement(task))

    def _arrived(self, request: Mapping[str, Any]) -> Entry:
        task_uuid, model = str(request.get("taskUUID", "")), request.get("model")
        self.dirty_tasks.add(task_uuid)
        return self.ledger.arrived(
            task_uuid, str(request["taskType"]), model if isinstance(model, str) else ""
        )

    def _watch(self, task: Task) -> None:
        if self.on_accept is not None:
            self.on_accept(task)

    def _await_next(self, task: Task) -> None:
        if task.settled < len(task.finish_at) and not task.lost:
            self.schedule.call_at(task.finish_at[task.settled], self._due, task)

    def _due(self, task: Task) -> None:
        # A task that a reset has forgotten must not be billed any more.
        if self.tasks.get(task.uuid) is task:
            self.settle(task, self.clock.now_s())
            self._await_next(task)

    def _settle_item(self, task: Task, index: int, entry: Entry, account: Account) -> None:
        account.held_micro_usd -= task.price_micro_usd
        if task.failure is not None and task.failure.hits(index):
            return
        account.balance_micro_usd -= task.price_micro_usd
        account.billed_micro_usd += task.price_micro_usd
        self.ledger.billed(entry, task.price_micro_usd)
        self.items[task.item_uuid(index)] = (task, index)

    def _settle_end(self, task: Task, entry: Entry) -> None:
        account = self.accounts.by_uuid[task.account]
        account.requests += 1
        entry.finished_at = task.ends_at
        entry.state = "success" if entry.items == len(task.finish_at) else "error"
        request = task.parameters() if task.kind.shape in {"training", "phases"} else {}
        if entry.state == "success" and task.kind.shape == "training":
            target = request["importModel"]
            self.catalogue.add_private(target["air"], target["name"])
        elif entry.state == "success" and isinstance(request.get("air"), str):
            self.catalogue.add_private(request["air"], request["name"])


_CONTEXT = ("taskType", "taskUUID", "deliveryMethod")


def _entry(refusal: Refusal, task: Mapping[str, Any]) -> dict[str, Any]:
    return error_entry(refusal, task_type=task.get("taskType"), task_uuid=task.get("taskUUID"))


def _injected_refusal(faults: Mapping[str, Action]) -> Refusal | None:
    action = faults.get("refuse")
    if action is None:
        return None
    code = action.values["code"]
    return Refusal(
        code, action.values["message"] or f"The task was refused: {code}.", action.values["parameter"]
    )


def _injected_failure(faults: Mapping[str, Action]) -> Failure | None:
    action = faults.get("item_error")
    if action is None:
        return None
    values = action.values
    items = tuple(values["items"]) if values["items"] is not None else None
    message = values["message"] or f"The generation failed: {values['code']}."
    return Failure(values["code"], message, items, values["form"])


def decode_message(body: bytes | str) -> list[Mapping[str, Any]] | Refusal:
    """The tasks of a message, or why it is none: it must be a JSON array of objects."""
    try:
        tasks = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Refusal("invalidJSON", "The request body is not valid JSON.")
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        return Refusal("invalidRequest", "The request body must be a JSON array of task objects.")
    if not tasks:
        return Refusal("arrayTooSmall", "The request body must hold at least one task.")
    return tasks
