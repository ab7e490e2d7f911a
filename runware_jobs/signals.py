"""Signals that every worker process sends; connect receivers in a module named in IMPORTS.

```python
from runware_jobs.signals import on_result

@on_result.connect
def save(job, event, **_):
    print(job["id"], event["data"]["result"]["imageURL"])
```

Receivers run in threads of the worker, never on its loop; what they are promised, and
what not, is in docs/signals.md.
"""

from __future__ import annotations

import asyncio
import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from celery.utils.dispatch import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Call = Callable[[Mapping[str, Any] | None, Mapping[str, Any]], None]


class JobSignal(Signal):  # type: ignore[misc]  # Celery is untyped
    """Celery's signal, whose receivers are called one by one, by whoever has a thread for them.

    `lost` counts the receivers that were connected by a weak reference and are gone.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=name, providing_args={"job", "event"})
        self.lost = 0

    @property
    def has_receivers(self) -> bool:
        """Whether anybody is there now; a weak reference to who is gone is nobody."""
        with self.lock:
            self._clear_dead_receivers()
            return bool(self.receivers)

    def calls(self, sender: Any) -> list[tuple[str, Call]]:
        """Give the receivers that are there now, in the order they were connected: name, and what calls it.

        A call blocks until the receiver has returned, one that is `async def` included,
        and raises what the receiver raises.
        """
        return [
            (_name_of(receiver), partial(_call, receiver, self, sender))
            for receiver in self._live_receivers(sender)
        ]

    def _remove_receiver(self, receiver: Any = None) -> None:
        self.lost += 1
        super()._remove_receiver(receiver)


on_result = JobSignal("on_result")
"""A result arrived: `event["data"]["result"]` is the item, also a failed one."""

on_progress = JobSignal("on_progress")
"""A job's progress changed; thin (`job["id"]`, `event["data"]["progress"]`), newest wins."""

on_state = JobSignal("on_state")
"""A job moved: queued, submitted, retrying, or final; or its cost was corrected."""


SIGNALS: Final[dict[str, JobSignal]] = {
    "on_result": on_result,
    "on_progress": on_progress,
    "on_state": on_state,
}


def wanted_signals() -> list[str]:
    """Name the signals that have receivers in this process."""
    return [name for name, signal in SIGNALS.items() if signal.has_receivers]


def lost_receivers() -> dict[str, int]:
    """Count by signal the receivers that were connected and are gone: lambdas, local functions, methods."""
    return {name: signal.lost for name, signal in SIGNALS.items() if signal.lost}


def _call(
    receiver: Callable[..., Any],
    signal: JobSignal,
    sender: Any,
    job: Mapping[str, Any] | None,
    event: Mapping[str, Any],
) -> None:
    answer = receiver(signal=signal, sender=sender, job=job, event=event)
    if inspect.iscoroutine(answer):
        # A loop of its own for each call: nothing of it outlives the call.
        asyncio.run(answer)
    elif inspect.isgenerator(answer) or inspect.isasyncgen(answer):
        raise TypeError("a receiver with `yield` in it does nothing when it is called")


def _name_of(receiver: Any) -> str:
    while isinstance(receiver, partial):
        receiver = receiver.func
    named = receiver if hasattr(receiver, "__qualname__") else type(receiver)
    return f"{named.__module__}.{named.__qualname__}"
