"""Every error that this package raises to its users.

```
RunwareJobsError
├── SettingsError            a setting is wrong; nothing was started
│   └── SecretKeyWrong       core.signing: it does not decrypt what is stored
├── InvalidJob               a parameter or option is wrong; nothing was enqueued
│   └── IdempotencyConflict  the key was used for another request
├── JobNotFound              no such job or batch for this tenant
├── JobForgotten             the job was pruned; its key is spent
├── NotPossible              the job's state does not allow it; nothing was changed
├── JobTimeout               the wait is over; the job goes on
├── JobEnded
│   ├── JobFailed            the job failed; `job` carries why
│   │   └── TaskFailed       the same, as Celery's AsyncResult raises it
│   └── JobCanceled          the job was canceled
├── DatabaseBehind           the schema is missing or old; run `runware-jobs migrate`
├── AddressRefused           core.addresses: we do not call this URL
├── NameNotFound             outgoing: its host has no address
└── KeyRefused, FetchFailed (TooLarge), ArchiveUnavailable    archive: no copy was made
```

Each carries `code`, one of the twelve of the platform's clients (PROTOCOL 8), so
that a caller switches on one set of names whoever refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uuid import UUID


class RunwareJobsError(Exception):
    """Something this package refuses or could not do."""

    code: str = "unknown"
    retryable: bool = False

    def __init__(
        self, message: str, *, parameter: str | None = None, job_id: UUID | str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.parameter = parameter
        self.job_id = str(job_id) if job_id is not None else None


class SettingsError(RunwareJobsError):
    """A setting is wrong or contradicts another; nothing was started."""

    code = "validation"


class InvalidJob(RunwareJobsError):
    """A parameter or option is wrong; nothing was enqueued. `parameter` names it."""

    code = "validation"


class IdempotencyConflict(InvalidJob):
    """The idempotency key or external id belongs to another request; `job_id` names its job."""


class JobNotFound(RunwareJobsError):
    """No such job, batch, endpoint or delivery is visible to this tenant."""

    code = "notFound"


class JobForgotten(RunwareJobsError):
    """The job behind this key was pruned: it ran once and will not run again."""

    code = "notFound"


class NotPossible(RunwareJobsError):
    """The present state does not allow what was asked; nothing was changed."""

    code = "validation"


class JobTimeout(RunwareJobsError):
    """The wait is over, the job is not: it goes on and can be waited for again."""

    code = "timeout"
    retryable = True


class JobEnded(RunwareJobsError):
    """A job ended without success; `job` is the job as it stands."""

    def __init__(self, message: str, *, job: Any) -> None:
        error = job.error or {}
        super().__init__(message, parameter=error.get("parameter"), job_id=job.id)
        self.job = job
        self.code = error.get("code", self.code)
        self.retryable = bool(error.get("retryable", False))


class JobFailed(JobEnded):
    """The job failed; `code`, `retryable` and `parameter` are those of its error."""


class TaskFailed(JobFailed):
    """The job behind a Celery task failed. `job` is None: Celery keeps errors as JSON; `job_id` says which."""

    def __init__(
        self,
        message: str,
        code: str = "unknown",
        retryable: bool = False,
        parameter: str | None = None,
        job_id: str | None = None,
    ) -> None:
        RunwareJobsError.__init__(self, message, parameter=parameter, job_id=job_id)
        self.args = (message, code, retryable, parameter, job_id)
        self.job = None
        self.code = code
        self.retryable = retryable

    def __str__(self) -> str:
        return self.message


class JobCanceled(JobEnded):
    """The job was canceled; its task may go on and be billed (`job.billing`)."""

    code = "aborted"


class DatabaseBehind(RunwareJobsError):
    """The schema is missing or older than this code; nothing was written."""

    code = "serverError"
