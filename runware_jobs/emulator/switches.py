"""Where the platform's sources contradict each other or say nothing: both sides, to be chosen from.

One table: each switch with its default, what it chooses, and the section of the protocol notes (PROTOCOL)
that leaves it open. Switches are set at start and changed while the emulator runs; they decide nothing
themselves, whoever behaves in one of two ways asks for the value.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Mapping


class ConfigError(ValueError):
    """A setting that cannot be used; the message names the field and what would be right."""


def _open(default: Any, source: str, what: str) -> Any:
    """A switch: its default, the section that leaves the matter open, and what it chooses."""
    return field(default=default, metadata={"source": source, "what": what})


@dataclass(frozen=True, slots=True)
class Switches:
    """One value per open question. None means without limit, for ever, or not at all, as its text says."""

    # What getResponse says.
    failure_form: Literal["A", "B"] = _open(
        "B", "15.1", "A failed item is A: an entry of `errors`, B: an item of `data` with status `error`."
    )
    poll_task_type: Literal["original", "getResponse"] = _open(
        "original", "15.3", "The taskType of what getResponse answers: the task's own, or `getResponse`."
    )
    running_status: Literal["processing", "pending", "queued"] = _open(
        "processing", "3.3", "The status of an item that has not finished."
    )
    result_index: bool = _open(False, "3.3", "Items of getResponse carry `resultIndex`.")
    multi_poll: bool = _open(True, "17.3", "Several getResponse of one message are answered; else the first.")
    unknown_task: Literal["empty", "error"] = _open(
        "empty", "17.1", "getResponse for an unknown UUID answers nothing, or the error `taskNotFound`."
    )
    retention_s: float = _open(
        86_400, "17.1", "How long getResponse knows a finished task; the archive knows it for ever."
    )

    # When a taskUUID is taken.
    conflict: Literal["forever", "running", "window"] = _open(
        "forever", "17.2", "A taskUUID is taken for ever, while its task runs, or for `conflict_window_s`."
    )
    conflict_window_s: float = _open(3600, "17.2", "How long after its submit, with `conflict` = `window`.")
    conflict_after_failure: bool = _open(
        True, "17.2", "The UUID of a failed task is as taken as that of any other."
    )
    conflict_scope: Literal["platform", "organisation", "key"] = _open(
        "platform", "17.2", "Among whose tasks a UUID must be unique. A second task replaces the first."
    )
    conflict_lag_s: float = _open(
        0, "3.5", "A duplicate that follows within this time is not noticed, runs, and is billed again."
    )
    duplicate_overwrites_archive: bool = _open(
        True, "6.2", "A refused duplicate replaces the archived response of the real task (getTaskDetails)."
    )

    # Requests and their answers.
    partial_status: Literal[200, 400] = _open(
        200, "17.3", "The HTTP status when some tasks of a request were refused and others not."
    )
    empty_errors: bool = _open(False, "1.3", "A clean answer carries `errors: []`.")
    max_tasks: int | None = _open(None, "17.3", "Most tasks of one message; null: no limit.")
    max_body_bytes: int | None = _open(None, "17.3", "Largest message; null: no limit.")
    retry_after_s: float | None = _open(
        None, "17.5", "`Retry-After` of every 429 and 503 that names no other; null: none."
    )
    rest_session: bool = _open(True, "1.1", "Authentication inside a POST answers a session item of its own.")
    dry_run: Literal["priced", "acknowledged"] = _open(
        "priced", "17.10", "A dry run answers the cost of the task, or a mere acknowledgement."
    )
    sync_window_s: float = _open(
        120, "2.2", "A sync request that lasts longer is answered with a timeout; its task goes on."
    )

    # Sockets.
    idle_close_s: float = _open(120, "2.2", "A WebSocket is closed after this long without a message.")
    idle_close_code: Literal[1000, 1001, 1008] = _open(1000, "17.6", "The close code of an idle WebSocket.")
    replay_s: float = _open(
        120, "15.5", "How long undelivered pushes wait for their session to return; 0: no replay."
    )
    unknown_session: Literal["new", "error"] = _open(
        "new", "17.6", "An unknown or expired session is silently a new one, or an error."
    )
    async_push: bool = _open(False, "17.6", "Results of async tasks are pushed on the WebSocket too.")
    sockets_per_key: int | None = _open(
        None, "17.12", "Most WebSockets of one key; a further one is refused at authentication."
    )
    shared_pushes: bool = _open(False, "17.12", "Pushed results go to every WebSocket of the same key.")

    # Webhooks.
    webhook_body: Literal["flat", "wrapped"] = _open(
        "flat", "15.2", "A callback carries the item itself, or `data` with the item in it."
    )
    webhook_failure: Literal["flat", "errors", "item"] = _open(
        "flat", "17.4", "A failure calls with its code beside the status, an `errors` list, or a form B item."
    )
    webhook_attempts: int = _open(10, "17.4", "How often one callback is tried.")
    webhook_deadline_s: float = _open(5, "4", "How long a receiver of a callback may take.")
    webhook_redirects: bool = _open(False, "17.4", "Callbacks follow redirects.")
    webhook_poll: bool = _open(True, "17.4", "A task with a webhook can also be polled.")

    # Money.
    bill_failures: bool = _open(False, "17.9", "Failed items are billed like finished ones.")
    cost_per: Literal["item", "task"] = _open(
        "item", "17.9", "The `cost` of an item is its own, or that of all items of the task."
    )

    # Media.
    media_lifetime_s: float | None = _open(
        None, "17.7", "How long a result's file lives when the task names no `ttl`; null: for ever."
    )
    upload_endpoint_attempts: int = _open(1, "17.7", "How often a file is PUT to an `uploadEndpoint`.")
    upload_lifetime_s: float | None = _open(None, "17.11", "How long an uploaded file lives; null: for ever.")
    expired_upload: Literal["mediaNotFound", "mediaExpired"] = _open(
        "mediaNotFound", "17.11", "The error of a task that refers to an upload that is gone."
    )

    # Serverless apps.
    serverless_lag_s: float = _open(0, "10.3", "How long a fresh serverless task is answered with 404.")
    serverless_wait_s: float = _open(
        60, "10.3", "A sync invocation that lasts longer is answered as pending; its task goes on."
    )

    # Task types and models.
    strictness: Literal["lenient", "schema", "strict"] = _open(
        "schema",
        "5",
        "Tasks are held against rules all models share; against the model's schema too; or without "
        "what only older clients send.",
    )
    legacy_names: bool = _open(
        True, "15.9", "Older task types such as `imageControlNetPreProcess` are known."
    )
    slugs: bool = _open(True, "15.7", "A model may be named by its slug; else by AIR only.")
    model_source: Literal["official", "featured"] = _open(
        "official", "15.6", "What modelSearch calls the source of a model of the platform itself."
    )
    trigger_words: Literal["string", "list"] = _open(
        "string", "15.6", "Trigger words in modelSearch are one string, or a list."
    )
    training_file: Literal["url", "fileURL"] = _open(
        "url", "15.4", "A file that a training leaves is `uuid` and `url`, or `fileURL` alone."
    )
    upload_delivery: bool = _open(
        True, "15.8", "modelUpload takes `deliveryMethod` and `webhookURL`; else they are unknown parameters."
    )
    upload_identity: Literal["optional", "required"] = _open(
        "optional", "15.8", "`air` and `uniqueIdentifier` of modelUpload."
    )
    upload_sync: Literal["wait", "acknowledge"] = _open(
        "acknowledge", "17.8", "A modelUpload by REST that names no delivery: waits, or is acknowledged."
    )
    upload_poll: Literal["phases", "phase", "processing"] = _open(
        "phases",
        "17.8",
        "A running modelUpload polls as all phases so far, as the latest, or as `processing` until it is ready.",
    )


def changed_switches(switches: Switches, values: Any) -> Switches:
    """A copy of the switches with the given fields replaced. Raises ConfigError, naming the field."""
    if not isinstance(values, dict):
        raise ConfigError('switches: must be an object such as {"failure_form": "A"}')
    for name, value in values.items():
        _check(name, value)
    return replace(switches, **values)


def parse_switches(texts: list[str]) -> dict[str, Any]:
    """Read `name=value` words as a command line has them. Raises ConfigError, naming the switch."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"switch: {text!r} is not NAME=VALUE; example: failure_form=A")
        found[name] = _value_of(name, value)
        _check(name, found[name])
    return found


def switch_table() -> list[dict[str, Any]]:
    """Every switch as a row: name, default, choices, source and what, for lists and documents."""
    return [
        {
            "name": one.name,
            "default": one.default,
            "choices": choices_of(one.name),
            "source": f"PROTOCOL {one.metadata['source']}",
            "what": one.metadata["what"],
        }
        for one in fields(Switches)
    ]


def choices_of(name: str) -> str:
    """What may be set, in words: `A, B`, `true, false`, `number`, `number or null`."""
    hint = _hints()[name]
    if get_origin(hint) is Literal:
        return ", ".join(str(choice) for choice in get_args(hint))
    if hint is bool:
        return "true, false"
    return "number or null" if NoneType in get_args(hint) else "number"


def _value_of(name: str, text: str) -> Any:
    """The value a word stands for; a word that stands for none comes back as it is, to be refused."""
    hint = _hints().get(name)
    if get_origin(hint) is Literal:
        return next((choice for choice in get_args(hint) if str(choice) == text), text)
    named: Mapping[str, Any] = {"true": True, "on": True, "false": False, "off": False, "null": None}
    if text in named:
        return named[text]
    try:
        return int(text) if text.lstrip("-").isdigit() else float(text)
    except ValueError:
        return text


def _check(name: str, value: Any) -> None:
    hint = _hints().get(name)
    if hint is None:
        raise ConfigError(f"switches.{name}: unknown; known are {', '.join(sorted(_hints()))}")
    # 1 == True and 1000 == 1000.0, so the type has to agree as well.
    fits = (
        any(value == choice and type(value) is type(choice) for choice in get_args(hint))
        if get_origin(hint) is Literal
        else _fits(hint, value)
    )
    if not fits:
        raise ConfigError(f"switches.{name}: must be {_wanted(name)}, not {value!r}")


def _fits(hint: Any, value: Any) -> bool:
    if hint is bool:
        return isinstance(value, bool)
    types = get_args(hint) or (hint,)
    if value is None:
        return NoneType in types
    numbers = (int, float) if float in types else (int,)
    return isinstance(value, numbers) and not isinstance(value, bool) and value >= 0


def _wanted(name: str) -> str:
    hint = _hints()[name]
    if get_origin(hint) is Literal:
        return f"one of {choices_of(name)}"
    if hint is bool:
        return "true or false"
    whole = "a whole number" if int in (get_args(hint) or (hint,)) else "a number"
    return f"{whole} of 0 or more" + (" or null" if NoneType in get_args(hint) else "")


@cache
def _hints() -> dict[str, Any]:
    return get_type_hints(Switches)
