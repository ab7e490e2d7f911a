"""How many webhooks of one process may be under way, so that a slow receiver holds up only itself.

Counting, no sending: rows are *held* from their claim on and *on the wire* while they
are sent. A host begins narrow, becomes wider with each success and narrower with each
failure; of one that answers at once more rows are held than are on the wire, so that
they are claimed many at a time. No endpoint gets more than its share of the whole,
however many hosts its URLs name.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from uuid import UUID

MOST_HELD: Final = 512
MOST_ON_WIRE: Final = 200
# As many as `webhooks.WebhookSender` lets one host have.
_WIDEST: Final = 8
# Little for a host that hangs, and two answers later no limit for one that does not.
_FIRST_WIDTH: Final = 2
_QUICK_S: Final = 0.25
_HELD_PER_PLACE: Final = 16
# What was learned of a host that nothing is held for any more is kept for so many.
_HOSTS_KEPT: Final = 1_000


@dataclass(slots=True)
class _Host:
    width: int = _FIRST_WIDTH
    is_quick: bool = False
    held: int = 0
    on_wire: int = 0

    @property
    def most_held(self) -> int:
        return self.width * (_HELD_PER_PLACE if self.is_quick else 1)


class Places:
    """The places of one process. Whoever holds a row lets it go, whoever starts one ends it."""

    def __init__(self) -> None:
        self._hosts: dict[str, _Host] = {}
        self._held: Counter[UUID | None] = Counter()
        self._sent: Counter[UUID | None] = Counter()
        self.held = 0
        self.on_wire = 0

    def room(self, host: str, endpoint_id: UUID | None) -> int:
        """Give how many rows more may be claimed for a host of an endpoint; few at a time are not worth it."""
        known = self._hosts.get(host) or _Host()
        if known.held > known.most_held // 2:
            return 0
        share = MOST_HELD // 2 - self._held[endpoint_id]
        return max(0, min(known.most_held - known.held, share, MOST_HELD - self.held))

    def hold(self, host: str, endpoint_id: UUID | None) -> None:
        """Count a row that was claimed."""
        if host not in self._hosts and len(self._hosts) >= _HOSTS_KEPT:
            self._hosts = {name: known for name, known in self._hosts.items() if known.held}
        self._hosts.setdefault(host, _Host()).held += 1
        self._held[endpoint_id] += 1
        self.held += 1

    def let_go(self, host: str, endpoint_id: UUID | None) -> None:
        """Count a row that is held no more."""
        self._hosts[host].held -= 1
        self._held[endpoint_id] -= 1
        if self._held[endpoint_id] == 0:
            del self._held[endpoint_id]
        self.held -= 1

    def start(self, host: str, endpoint_id: UUID | None) -> bool:
        """Take a place on the wire for a held row; False: there is none now."""
        known = self._hosts[host]
        if (
            known.on_wire >= known.width
            or self.on_wire >= MOST_ON_WIRE
            or self._sent[endpoint_id] >= MOST_ON_WIRE // 2
        ):
            return False
        known.on_wire += 1
        self._sent[endpoint_id] += 1
        self.on_wire += 1
        return True

    def end(self, host: str, endpoint_id: UUID | None, *, took_s: float, succeeded: bool | None) -> None:
        """Give back a place on the wire, and learn from how it went; None: nothing was asked."""
        known = self._hosts[host]
        known.on_wire -= 1
        if succeeded is not None:
            known.width = min(_WIDEST, known.width + 1) if succeeded else max(1, known.width // 2)
            known.is_quick = succeeded and took_s < _QUICK_S
        self._sent[endpoint_id] -= 1
        if self._sent[endpoint_id] == 0:
            del self._sent[endpoint_id]
        self.on_wire -= 1
