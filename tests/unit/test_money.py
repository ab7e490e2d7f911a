"""What can be paid: budgets and the daily brake are kept to the cent while prices are known."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runware_jobs.core.money import Purse, Request, admit

BATCH, OTHER = UUID(int=100), UUID(int=200)
cents = st.integers(0, 500).map(lambda n: Decimal(n) / 100)


def usd(text):
    return None if text is None else Decimal(text)


def asked(*prices, batch=BATCH):
    return [Request(UUID(int=n), batch, usd(price)) for n, price in enumerate(prices)]


def purse(limit, spent="0", held="0", *, unpriced=False):
    return Purse(Decimal(limit), Decimal(spent), Decimal(held), has_unpriced=unpriced)


@pytest.mark.parametrize(
    ("label", "budget", "prices", "admitted"),
    [
        ("all fit", purse("1"), ["0.30"] * 3, 3),
        ("exactly used up", purse("0.90"), ["0.30"] * 4, 3),
        ("a tenth of a cent too much", purse("0.8999"), ["0.30"] * 4, 2),
        ("held money is not there", purse("1", held="0.80"), ["0.30"], 0),
        ("spent money is not there", purse("1", spent="0.80"), ["0.10"] * 3, 2),
        ("free jobs always fit", purse("1", spent="0.99"), ["0"] * 3, 3),
        ("unknown: one at a time", purse("1"), [None] * 3, 1),
        ("unknown, one is out", purse("1", unpriced=True), [None], 0),
        ("unknown, a priced one is out", purse("1", held="0.10"), [None], 0),
        ("unknown, nothing left", purse("1", spent="1"), [None], 0),
        ("a cheaper one further on fits", purse("0.50"), ["0.40", "0.30", "0.10"], 2),
    ],
)
def test_budget_admits_exactly(label, budget, prices, admitted):
    assert admitted == len(admit(asked(*prices), (None, {BATCH: budget})).admitted)


@pytest.mark.parametrize(
    ("label", "budget", "price", "is_used_up"),
    [
        ("spent to the last cent", purse("1", spent="1"), "0.10", True),
        ("no job fits any more", purse("1", spent="0.95"), "0.10", True),
        ("what is held may come back", purse("1", spent="0.50", held="0.50"), "0.10", False),
        ("a price may be learned", purse("1", spent="0.99"), None, False),
    ],
)
def test_batch_is_used_up_only_when_nothing_can_come_back(label, budget, price, is_used_up):
    verdict = admit(asked(price), (None, {BATCH: budget}))

    assert ({BATCH} if is_used_up else set()) == verdict.exhausted_batches


def test_daily_brake_counts_over_all_batches():
    requests = [*asked("0.40"), Request(UUID(int=9), OTHER, Decimal("0.40"))]
    verdict = admit(requests, (purse("0.50"), {BATCH: purse("10"), OTHER: purse("10")}))

    assert [UUID(int=0)] == verdict.admitted
    assert set() == verdict.exhausted_batches


def test_brake_that_refuses_holds_nothing_from_the_batch():
    budget = purse("10")
    admit(asked("0.40"), (purse("0.10"), {BATCH: budget}))

    assert Decimal(0) == budget.held_usd


def test_holds_are_the_expected_costs_and_absent_where_unknown():
    verdict = admit(asked("0.40", None, batch=None), (None, {}))

    assert {UUID(int=0): Decimal("0.40")} == verdict.holds
    assert len(verdict.admitted) == 2


@given(st.lists(cents, max_size=20), cents, cents, cents)
def test_known_prices_never_pass_the_limit(prices, limit, spent, held):
    budget = Purse(limit, spent, held)
    requests = [Request(UUID(int=n), BATCH, price) for n, price in enumerate(prices)]
    verdict = admit(requests, (None, {BATCH: budget}))

    assert sum(verdict.holds.values()) + held == budget.held_usd
    if any(verdict.holds.values()):
        assert spent + budget.held_usd <= limit
