"""The platform itself, free of any transport: a list of tasks goes in, what it says goes out.

Holds the tasks, settles them (money, ledger, listeners) as their items finish, and answers submits and
polls. What it refuses stands in admission.py, the utilities in utilities.py; REST and WebSocket wrap what
comes from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import admission
from .accounts import Accounts
from .capacity import ModelQueue
from .clock import Clock, Schedule
from .errors import Refusal, error_entry
from .faults.judging import NO_FAULT, Faults, Struck, Transport, Verdict
from .kinds import Kind, kind_of, result_count, specific
from .ledger import Entry, Ledger, RequestRecord
from .messages import Answer, Caller
from .models.catalogue import Catalogue
from .prices import MICRO_PER_USD, micro_usd, price_micro_usd
from .results import Maker, Results
from .rules.bundle import read_bundle
from .rules.references import check_references
from .rules.validate import TaskRules, check_uuid, unknown_task_type
from .settlement import book_end, book_item
from .tasks import NEVER, Task, finish_times, latency_for, new_task, task_seed
from .utilities import UTILITIES
from .wording import worded_poll

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .accounts import Account
    from .config import Config
    from .media import Media


class Platform:
    """Everything the emulated platform knows. Not thread-safe: one event loop owns it."""

    def __init__(self, config: Config, clock: Clock, maker: Maker) -> None:
        self.config = config
        self.clock = clock
        self.schedule = Schedule(clock)
        self.switches = config.switches
        self.latencies = dict(config.latencies)
        self.catalogue = Catalogue(config.registry_path)
        self.bundle = read_bundle()
        self.rules = TaskRules(self.catalogue, self.bundle)
        self.accounts = Accounts(micro_usd(config.balance_usd))
        self.ledger = Ledger()
        self.tasks: dict[str, Task] = {}
        self.items: dict[str, tuple[Task, int]] = {}
        self.media: dict[str, Media] = {}
        self.expired_uploads: set[str] = set()
        self.archive_overrides: dict[str, dict[str, Any]] = {}
        self.queues: dict[tuple[str, str], ModelQueue] = {}
        self.faults = Faults(config.seed, self.tasks.get)
        self.faults.add(list(config.faults), clock.now_s())
        self.results = Results(maker, self.bundle, self.catalogue)
        self.watchers: Sequence[Callable[[Task], None]] = ()
        """Told of every task that is accepted or comes back from a state file."""
        self.save: Callable[[], None] = _nowhere
        """Write what changed to the state file; called before the answer that promises it leaves."""
        self.dirty_tasks: set[str] = set()
        self.dirty_media: set[str] = set()
        self.dirty_archive: set[str] = set()

    def answer(
        self, tasks: Sequence[Mapping[str, Any]], caller: Caller, verdict: Verdict = NO_FAULT
    ) -> Answer:
        """Handle every task of a message, each independent of the others."""
        answer = Answer()
        now = self.clock.now_s()
        polls = 0
        for task in tasks:
            task_type = task.get("taskType")
            if task_type == "getResponse":
                polls += 1
                self._poll(task, caller, answer, now, is_first=polls == 1)
                continue
            kind = self._kind(task_type)
            if kind is not None:
                self._submit(task, kind, caller, answer, now, verdict.of_task(task.get("taskUUID")))
            else:
                self._use(task, caller, answer, now)
        return answer

    def count_message(self, tasks: Sequence[Mapping[str, Any]], transport: Transport) -> RequestRecord:
        """Book one request message; the outcome of the record is the transport's to note."""
        types = [task.get("taskType") for task in tasks]
        polls = types.count("getResponse")
        submits = sum(self._kind(one) is not None for one in types)
        return self.ledger.request(
            RequestRecord(self.clock.now_s(), transport, submits, polls, len(types) - submits - polls)
        )

    def refuse_message(self, tasks: Sequence[Mapping[str, Any]], code: str) -> None:
        """Book the submits of a message that was refused as a whole before it was looked at."""
        for task in tasks:
            if self._kind(task.get("taskType")) is not None:
                self.ledger.refused(self._arrived(task), code, self.clock.now_s())

    def settle(self, task: Task, now: float) -> None:
        """Book every item that has finished by `now` and was not booked yet; tell the listeners."""
        finished = task.finished(now)
        if finished == task.settled or task.lost:
            return
        fresh = range(task.settled, finished)
        for index in fresh:
            book_item(self, task, index)
        task.settled = finished
        if finished == len(task.finish_at):
            book_end(self, task)
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
        if task.webhook_url is not None and not self.switches.webhook_poll:
            return None
        if task.ends_at + self.switches.retention_s < self.clock.now_s():
            return None
        return task

    def polled(self, task: Task, now: float) -> list[tuple[bool, dict[str, Any]]]:
        """Every item of the task as getResponse says it, each with whether it belongs under `errors`."""
        return [
            (is_error, worded_poll(item, task, self.switches))
            for is_error, item in self.results.polled(task, now, self.switches)
        ]

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
        for task in self.tasks.values():
            task.lost = True
            task.listeners.clear()
        self.tasks.clear()
        self.items.clear()
        self.media.clear()
        self.expired_uploads.clear()
        self.archive_overrides.clear()
        self.queues.clear()
        self.accounts.clear()
        self.catalogue.forget_private()
        self.ledger = Ledger()
        self.dirty_tasks.clear()
        self.dirty_media.clear()
        self.dirty_archive.clear()

    def _kind(self, task_type: Any) -> Kind | None:
        if not isinstance(task_type, str) or not admission.is_known_name(task_type, self.switches):
            return None
        return kind_of(task_type)

    def _use(self, request: Mapping[str, Any], caller: Caller, answer: Answer, now: float) -> None:
        """Answer a utility, or say that there is no such task type."""
        task_type = request.get("taskType")
        utility = UTILITIES.get(task_type) if isinstance(task_type, str) else None
        if utility is None:
            answer.errors.append(_entry(unknown_task_type(task_type), request))
            return
        refusal = None if task_type == "ping" else check_uuid(request)
        refusal = refusal or self.rules.check_utility(request, self.switches)
        result = refusal or utility(self, request, caller)
        if isinstance(result, Refusal):
            answer.errors.append(_entry(result, request))
            return
        answer.data.append(result)
        uploaded = result.get("mediaUUID") or result.get("imageUUID")
        if self.switches.upload_lifetime_s is not None and uploaded in self.media:
            self.schedule.call_at(now + self.switches.upload_lifetime_s, self._expire_upload, uploaded)

    def _poll(
        self, request: Mapping[str, Any], caller: Caller, answer: Answer, now: float, *, is_first: bool
    ) -> None:
        refusal = check_uuid(request)
        if refusal is None and not is_first and not self.switches.multi_poll:
            refusal = Refusal("arrayTooLarge", "One request asks for the response of one task.")
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
        for is_error, item in self.polled(task, now):
            (answer.errors if is_error else answer.data).append(item)

    def _submit(
        self,
        request: Mapping[str, Any],
        kind: Kind,
        caller: Caller,
        answer: Answer,
        now: float,
        faults: Mapping[str, Struck],
    ) -> None:
        entry = self._arrived(request)
        if not entry.account:
            entry.account, entry.key_id = caller.account.organization_uuid, caller.key_id
        kind = specific(kind, request)
        refusal = (
            self.rules.check(request, kind, self.switches)
            or admission.switched_refusal(request, kind, self.switches)
            or admission.expired_refusal(request, self.expired_uploads, self.switches)
            or check_references(request, self, caller.account)
            or admission.injected_refusal(faults)
        )
        if refusal is not None:
            self._refuse(request, refusal, entry, answer, now)
            return
        if admission.is_taken(self.tasks.get(request["taskUUID"]), caller, now, self.switches):
            self._refuse_duplicate(request, entry, answer, now)
            return
        price, count = price_micro_usd(kind, request), result_count(kind, request)
        refusal = admission.credit_refusal(caller.account, price * count)
        queue = self._queue(request, faults)
        wait_s = queue.wait_s(now) if queue is not None else 0.0
        if refusal is not None or wait_s is None:
            self._refuse(request, refusal or admission.FULL, entry, answer, now)
            return
        if caller.dry_run:
            answer.data.append(self._dry_run(request, price * count))
            return
        finish_at = self._finish_at(request, kind, count, now + wait_s, faults)
        if queue is not None:
            queue.enter(finish_at[-1])
        task = self._accept(
            request, kind, caller, entry, price=price, finish_at=finish_at, now=now, faults=faults
        )
        self._respond(task, caller, answer, asked_delivery="deliveryMethod" in request)

    def _refuse(
        self, request: Mapping[str, Any], refusal: Refusal, entry: Entry, answer: Answer, now: float
    ) -> None:
        self.ledger.refused(entry, refusal.code, now)
        answer.errors.append(_entry(refusal, request))

    def _refuse_duplicate(self, request: Mapping[str, Any], entry: Entry, answer: Answer, now: float) -> None:
        task_uuid = request["taskUUID"]
        error = _entry(admission.conflict(task_uuid), request)
        error["context"] = {name: request[name] for name in _CONTEXT if name in request}
        self.ledger.duplicate(entry, now)
        if self.switches.duplicate_overwrites_archive:
            self.archive_overrides[task_uuid] = {"errors": [error]}
            self.dirty_archive.add(task_uuid)
        answer.errors.append(error)

    def _dry_run(self, request: Mapping[str, Any], price: int) -> dict[str, Any]:
        self.ledger.totals.dry_runs += 1
        item = {"taskType": request["taskType"], "taskUUID": request["taskUUID"]}
        if self.switches.dry_run == "acknowledged":
            return item
        return {**item, "dryRun": True, "cost": price / MICRO_PER_USD}

    def _queue(self, request: Mapping[str, Any], faults: Mapping[str, Struck]) -> ModelQueue | None:
        """The queue of the task's model, where a fault rule limits it; each rule keeps its own."""
        struck = faults.get("capacity")
        if struck is None:
            return None
        key = (struck.rule_id, str(request.get("model", "")))
        queue = self.queues.get(key)
        if queue is None:
            queue = self.queues[key] = ModelQueue(struck.values["running"], struck.values["queued"])
        return queue

    def _finish_at(
        self,
        request: Mapping[str, Any],
        kind: Kind,
        count: int,
        starts_at: float,
        faults: Mapping[str, Struck],
    ) -> tuple[float, ...]:
        if "stuck" in faults:
            return (NEVER,) * count
        if "webhook_first" in faults:
            return (starts_at,) * count
        injected = faults.get("latency")
        return finish_times(
            request["taskUUID"],
            kind,
            count,
            starts_at=starts_at,
            latency=injected.values["latency"] if injected else latency_for(kind, self.latencies),
            speed=self.config.speed,
            seed=self.config.seed,
        )

    def _accept(
        self,
        request: Mapping[str, Any],
        kind: Kind,
        caller: Caller,
        entry: Entry,
        *,
        price: int,
        finish_at: tuple[float, ...],
        now: float,
        faults: Mapping[str, Struck],
    ) -> Task:
        task_uuid = request["taskUUID"]
        task = new_task(
            request,
            kind,
            account=caller.account.organization_uuid,
            key_id=caller.key_id,
            accepted_at=now,
            finish_at=finish_at,
            price_micro_usd=price,
            base_url=caller.base_url,
            seed=task_seed(request, task_uuid, self.config.seed),
        )
        if task.ttl_s is None:
            task.ttl_s = self.switches.media_lifetime_s
        task.failure = admission.injected_failure(faults)
        task.lost = "lost" in faults
        self.tasks[task_uuid] = task
        self.ledger.accepted(entry, now)
        if task.lost or "stuck" in faults:
            entry.state = "lost" if task.lost else "stuck"
        if not task.lost:
            caller.account.held_micro_usd += price * len(finish_at)
            self._await_next(task)
        self.dirty_tasks.add(task_uuid)
        self._watch(task)
        return task

    def _respond(self, task: Task, caller: Caller, answer: Answer, *, asked_delivery: bool) -> None:
        """Acknowledge, or let the transport wait for a sync task. Uploads push phases on a WebSocket."""
        waits = task.delivery != "async" and task.webhook_url is None
        if task.kind.shape == "phases" and not caller.websocket and not asked_delivery:
            waits = waits and self.switches.upload_sync == "wait"
        if waits and not task.lost:
            answer.waiting.append(task)
        else:
            answer.data.append(self.results.acknowledgement(task))
            answer.acknowledged.append(task)

    def _arrived(self, request: Mapping[str, Any]) -> Entry:
        task_uuid, model = str(request.get("taskUUID", "")), request.get("model")
        self.dirty_tasks.add(task_uuid)
        return self.ledger.arrived(
            task_uuid, str(request["taskType"]), model if isinstance(model, str) else ""
        )

    def _expire_upload(self, uuid: str) -> None:
        if self.media.pop(uuid, None) is not None:
            self.expired_uploads.add(uuid)
            self.dirty_media.add(uuid)

    def _watch(self, task: Task) -> None:
        for watcher in self.watchers:
            watcher(task)

    def _await_next(self, task: Task) -> None:
        if task.settled < len(task.finish_at) and not task.lost:
            self.schedule.call_at(task.finish_at[task.settled], self._due, task)

    def _due(self, task: Task) -> None:
        self.settle(task, self.clock.now_s())
        self._await_next(task)


_CONTEXT = ("taskType", "taskUUID", "deliveryMethod")


def _entry(refusal: Refusal, task: Mapping[str, Any]) -> dict[str, Any]:
    return error_entry(refusal, task_type=task.get("taskType"), task_uuid=task.get("taskUUID"))


def _nowhere() -> None:
    """Without a state file nothing is kept."""
