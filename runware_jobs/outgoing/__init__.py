"""Calling addresses that strangers gave us: a guarded, pinned HTTP client.

Webhooks and the archive both call URLs of other people, and adapters never import
each other, so what they share stands here: below both, importing only `core`. A
guard that existed twice would sooner or later be fixed once.

The rules (which addresses) are in `core.addresses`; this room resolves names, opens
connections to the very addresses that were judged, and bounds how many one host gets.
It knows no webhook, no asset, no signature.
"""

from __future__ import annotations

from .places import HostPlaces
from .posting import Answer, BrokenAnswer, NotConnected, Poster, TooLate
from .resolution import NameNotFound, Resolver, Target, ask_system, resolve
from .transport import open_client

__all__ = [
    "Answer",
    "BrokenAnswer",
    "HostPlaces",
    "NameNotFound",
    "NotConnected",
    "Poster",
    "Resolver",
    "Target",
    "TooLate",
    "ask_system",
    "open_client",
    "resolve",
]
