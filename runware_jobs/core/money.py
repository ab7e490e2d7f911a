"""What can be paid: budgets of batches and tenants, and the account's daily brake, in dollars.

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
            # Beside what is held: a purse that many draw from is never without a hold, and
            # the first job of a new model would wait for ever.
            return not self.has_unpriced and self.spent_usd + self.held_usd < self.limit_usd
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


@dataclass(slots=True)
class Purses:
    """All limits that a claim meets: the account's of today, and those of batches and tenants."""

    brake: Purse | None = None
    batches: dict[UUID, Purse] = field(default_factory=dict)
    tenants: dict[str, Purse] = field(default_factory=dict)

    def are_limited(self) -> bool:
        """Tell whether any limit stands at all."""
        return self.brake is not None or bool(self.batches) or bool(self.tenants)


@dataclass(frozen=True, slots=True)
class Request:
    """A job that would go out; `expected_usd` None while its model has no known price."""

    job_id: UUID
    batch_id: UUID | None
    tenant: str
    expected_usd: Decimal | None


@dataclass(slots=True)
class Verdict:
    """Which jobs may go out, with their holds, and whom the money keeps back.

    `exhausted` are used up: nothing of theirs that was asked for fits, even if all that is
    under way were free. `short` can pay not all now; what is under way may give something
    back, or one job costs more than is left.
    """

    admitted: list[UUID] = field(default_factory=list)
    holds: dict[UUID, Decimal] = field(default_factory=dict)
    exhausted_batches: set[UUID] = field(default_factory=set)
    exhausted_tenants: set[str] = field(default_factory=set)
    short_batches: set[UUID] = field(default_factory=set)
    short_tenants: set[str] = field(default_factory=set)
    # Those with a job that fits, or would if all that is under way were free.
    paying_batches: set[UUID] = field(default_factory=set)
    paying_tenants: set[str] = field(default_factory=set)


def admit(requests: Sequence[Request], purses: Purses) -> Verdict:
    """Admit jobs in their order as far as the daily brake and the budgets go."""
    verdict = Verdict()
    for request in requests:
        usd = request.expected_usd
        batch = None if request.batch_id is None else purses.batches.get(request.batch_id)
        tenant = purses.tenants.get(request.tenant)
        if not _budgets_allow(request, batch, tenant, verdict):
            continue
        if purses.brake is not None and not purses.brake.can_hold(usd):
            continue
        for purse in (purses.brake, batch, tenant):
            if purse is not None:
                purse.hold(usd)
        verdict.admitted.append(request.job_id)
        if usd is not None:
            verdict.holds[request.job_id] = usd
    # Used up only where nothing fits: one job that costs more than is left pauses no others.
    verdict.exhausted_batches = verdict.short_batches - verdict.paying_batches
    verdict.exhausted_tenants = verdict.short_tenants - verdict.paying_tenants
    verdict.short_batches -= verdict.exhausted_batches
    verdict.short_tenants -= verdict.exhausted_tenants
    return verdict


def _budgets_allow(request: Request, batch: Purse | None, tenant: Purse | None, verdict: Verdict) -> bool:
    """Tell whether both budgets take the job; note in `verdict` whose does not."""
    usd = request.expected_usd
    by_batch = by_tenant = True
    if batch is not None and request.batch_id is not None:
        by_batch = batch.can_hold(usd)
        if by_batch or not batch.is_exhausted_for(usd):
            verdict.paying_batches.add(request.batch_id)
        if not by_batch:
            verdict.short_batches.add(request.batch_id)
    if tenant is not None:
        by_tenant = tenant.can_hold(usd)
        if by_tenant or not tenant.is_exhausted_for(usd):
            verdict.paying_tenants.add(request.tenant)
        if not by_tenant:
            verdict.short_tenants.add(request.tenant)
    return by_batch and by_tenant
