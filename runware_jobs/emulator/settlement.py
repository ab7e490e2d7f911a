"""What follows from a finished item and an ended task: money, the ledger, the archive of media, new models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .models.trained import register_trained, register_uploaded

if TYPE_CHECKING:
    from .protocol import Platform
    from .tasks import Task


def book_item(platform: Platform, task: Task, index: int) -> None:
    """Release what was held for the item, and bill it unless it failed."""
    entry = platform.ledger.entries[task.uuid]
    account = platform.accounts.by_uuid[task.account]
    account.held_micro_usd -= task.price_micro_usd
    at, failure = task.finish_at[index], task.failure
    has_failed = failure is not None and failure.hits(index)
    if failure is not None and has_failed:
        platform.ledger.failed(entry, failure.code, at)
    if not has_failed or platform.switches.bill_failures:
        account.balance_micro_usd -= task.price_micro_usd
        account.billed_micro_usd += task.price_micro_usd
        platform.ledger.billed(entry, task.price_micro_usd, at)
    if not has_failed:
        entry.items += 1
        platform.items[task.item_uuid(index)] = (task, index)


def book_end(platform: Platform, task: Task) -> None:
    """Close the task's entry, and put into the catalogue what a training or an upload has made."""
    entry = platform.ledger.entries[task.uuid]
    platform.accounts.by_uuid[task.account].requests += 1
    entry.finished_at = task.ends_at
    has_failed = task.failure is not None and any(map(task.failure.hits, range(len(task.finish_at))))
    entry.state = "error" if has_failed else "success"
    if has_failed:
        return
    match task.kind.shape:
        case "training":
            register_trained(platform.catalogue, task, task.parameters())
        case "phases":
            register_uploaded(platform.catalogue, task, task.parameters())
        case _:
            pass
