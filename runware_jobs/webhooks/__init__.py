"""Outgoing webhooks: one signed request, sent safely, and what came of it.

What is sent and when is decided in `steps`; signatures are made in `core.signing`,
the schedule stands in `core.delivery`. The guard that decides which addresses are
called is shared with the archive, and offered here under the names of this room.
"""

from __future__ import annotations

from runware_jobs.core.addresses import AddressRefused, check_url
from runware_jobs.outgoing import Target, resolve

from .sender import Delivered, Failed, FailureReason, Gone, SendResult, WebhookSender

__all__ = [
    "AddressRefused",
    "Delivered",
    "Failed",
    "FailureReason",
    "Gone",
    "SendResult",
    "Target",
    "WebhookSender",
    "check_url",
    "resolve",
]
