"""Signals that every worker process sends; connect receivers in a module named in IMPORTS.

```python
from runware_jobs.signals import on_result

@on_result.connect(weak=False)
def save(job, event, **_):
    print(job["id"], event["data"]["result"]["imageURL"])
```

Receivers run in a thread of the worker, one after another, never on its loop. They
are called once per event, and again only after a crash between the call and its
mark. A receiver that raises is logged and harms nobody.
"""

from __future__ import annotations

from typing import Final

from celery.utils.dispatch import Signal

on_result = Signal(name="on_result", providing_args={"job", "event"})
"""A result arrived: `event["data"]["result"]` is the item, also a failed one."""

on_progress = Signal(name="on_progress", providing_args={"job", "event"})
"""A job's progress changed; thin (`job["id"]`, `event["data"]["progress"]`), newest wins."""

on_state = Signal(name="on_state", providing_args={"job", "event"})
"""A job moved: queued, submitted, retrying, or final."""


SIGNALS: Final[dict[str, Signal]] = {
    "on_result": on_result,
    "on_progress": on_progress,
    "on_state": on_state,
}


def wanted_signals() -> list[str]:
    """Name the signals that have receivers in this process."""
    return [name for name, signal in SIGNALS.items() if signal.receivers]
