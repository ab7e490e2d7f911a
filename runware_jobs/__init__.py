"""A durable job queue for the Runware media platform.

`Jobs` and `AsyncJobs` put jobs into the queue and read what became of them; see
the README. The platform's client on its own is `runware_jobs.client`.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import (
        IdempotencyConflict,
        InvalidJob,
        JobCanceled,
        JobFailed,
        JobForgotten,
        JobNotFound,
        JobTimeout,
        NotPossible,
        RunwareJobsError,
        SettingsError,
    )
    from .jobs import AsyncBatch, AsyncJob, AsyncJobs, Batch, Job, Jobs
    from .settings import Settings

__version__ = version("runware-jobs")

_HOMES = {
    "errors": (
        "IdempotencyConflict",
        "InvalidJob",
        "JobCanceled",
        "JobFailed",
        "JobForgotten",
        "JobNotFound",
        "JobTimeout",
        "NotPossible",
        "RunwareJobsError",
        "SettingsError",
    ),
    "jobs": ("AsyncBatch", "AsyncJob", "AsyncJobs", "Batch", "Job", "Jobs"),
    "settings": ("Settings",),
}

__all__ = [
    "AsyncBatch",
    "AsyncJob",
    "AsyncJobs",
    "Batch",
    "IdempotencyConflict",
    "InvalidJob",
    "Job",
    "JobCanceled",
    "JobFailed",
    "JobForgotten",
    "JobNotFound",
    "JobTimeout",
    "Jobs",
    "NotPossible",
    "RunwareJobsError",
    "Settings",
    "SettingsError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Load a public name at its first use: the client and the emulator stand without the queue."""
    from importlib import import_module  # noqa: PLC0415  only when a name is asked for

    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
