"""What can be paid: budgets of batches and the account's daily brake, decided in dollars.

A hold is the expected cost of an attempt under way; it is taken in the claim and
lives until the attempt has ended. While no price is known, one job at a time goes
out, so that a budget is passed by one job's cost at the most.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal
    from uuid import UUID


@dataclass(slots=True)
class Purse:
    """A limit with what was spent and what is held; `admit` adds holds as it goes."""

    limit_usd: Decimal
    spent_usd: Decimal
    held_usd: Decimal
    has_unpriced: bool = False

    def can_hold(self, usd: Decimal | None) -> bool:
        """Tell whether one more job fits beside everything that is under way."""
        if usd is None:
            return not self.has_unpriced and not self.held_usd and self.spent_usd < self.limit_usd
        return self.spent_usd + self.held_usd + usd <= self.limit_usd

    def is_exhausted_for(self, usd: Decimal | None) -> bool:
        """Tell whether the job would not fit even if everything under way were free."""
        return self.spent_usd >= self.limit_usd or (usd is not None and self.spent_usd + usd > self.limit_usd)

    def hold(self, usd: Decimal | None) -> None:
        """Add a hold; None marks that a job of unknown price is out."""
        if usd is None:
            self.has_unpriced = True
        else:
            self.held_usd += usd


@dataclass(frozen=True, slots=True)
class Request:
    """A job that would go out; `expected_usd` None while its model has no known price."""

    job_id: UUID
    batch_id: UUID | None
    expected_usd: Decimal | None


@dataclass(slots=True)
class Verdict:
    """Which jobs may go out, with their holds, and which batches are used up."""

    admitted: list[UUID] = field(default_factory=list)
    holds: dict[UUID, Decimal] = field(default_factory=dict)
    exhausted_batches: set[UUID] = field(default_factory=set)


def admit(requests: Sequence[Request], purses: tuple[Purse | None, dict[UUID, Purse]]) -> Verdict:
    """Admit jobs in their order as far as the daily brake and their batches' budgets go."""
    brake, batches = purses
    verdict = Verdict()
    for request in requests:
        batch = batches.get(request.batch_id) if request.batch_id is not None else None
        if batch is not None and batch.is_exhausted_for(request.expected_usd):
            assert request.batch_id is not None  # noqa: S101  for the type checker: batch came from it
            verdict.exhausted_batches.add(request.batch_id)
            continue
        concerned = [purse for purse in (brake, batch) if purse is not None]
        if not all(purse.can_hold(request.expected_usd) for purse in concerned):
            continue
        for purse in concerned:
            purse.hold(request.expected_usd)
        verdict.admitted.append(request.job_id)
        if request.expected_usd is not None:
            verdict.holds[request.job_id] = request.expected_usd
    return verdict
