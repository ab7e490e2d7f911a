"""What can be paid: budgets and the daily brake are kept to the cent while prices are known."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runware_jobs.core.money import Purse, Purses, Request, admit

BATCH, OTHER = UUID(int=100), UUID(int=200)
cents = st.integers(0, 500).map(lambda n: Decimal(n) / 100)


def usd(text):
    return None if text is None else Decimal(text)


def asked(*prices, batch=BATCH):
    return [Request(UUID(int=n), batch, "acme", usd(price)) for n, price in enumerate(prices)]


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
        ("unknown, a priced one is out", purse("1", held="0.10"), [None, None], 1),
        ("unknown, all is held", purse("1", held="1"), [None], 0),
        ("unknown, nothing left", purse("1", spent="1"), [None], 0),
        ("a cheaper one further on fits", purse("0.50"), ["0.40", "0.30", "0.10"], 2),
    ],
)
def test_budget_admits_exactly(label, budget, prices, admitted):
    assert admitted == len(admit(asked(*prices), Purses(batches={BATCH: budget})).admitted)


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
    verdict = admit(asked(price), Purses(batches={BATCH: budget}))

    assert ({BATCH} if is_used_up else set()) == verdict.exhausted_batches


@pytest.mark.parametrize(
    ("label", "prices", "admitted"),
    [("dear one first", ["11", "0.10"], [1]), ("dear one last", ["0.10", "11"], [0])],
)
def test_one_job_that_costs_more_than_is_left_pauses_no_others(label, prices, admitted):
    tenant, batch = purse("10"), purse("10")
    verdict = admit(asked(*prices), Purses(None, {BATCH: batch}, {"acme": tenant}))

    assert [UUID(int=n) for n in admitted] == verdict.admitted
    assert (set(), set()) == (verdict.exhausted_batches, verdict.exhausted_tenants)
    assert ({BATCH}, {"acme"}) == (verdict.short_batches, verdict.short_tenants)


def test_daily_brake_counts_over_all_batches():
    requests = [*asked("0.40"), Request(UUID(int=9), OTHER, "acme", Decimal("0.40"))]
    verdict = admit(requests, Purses(purse("0.50"), {BATCH: purse("10"), OTHER: purse("10")}))

    assert [UUID(int=0)] == verdict.admitted
    assert set() == verdict.exhausted_batches


def test_brake_that_refuses_holds_nothing_from_the_batch():
    budget = purse("10")
    admit(asked("0.40"), Purses(purse("0.10"), {BATCH: budget}))

    assert Decimal(0) == budget.held_usd


def test_holds_are_the_expected_costs_and_absent_where_unknown():
    verdict = admit(asked("0.40", None, batch=None), Purses())

    assert {UUID(int=0): Decimal("0.40")} == verdict.holds
    assert len(verdict.admitted) == 2


@given(st.lists(cents, max_size=20), cents, cents, cents)
def test_known_prices_never_pass_the_limit(prices, limit, spent, held):
    budget = Purse(limit, spent, held)
    requests = [Request(UUID(int=n), BATCH, "acme", price) for n, price in enumerate(prices)]
    verdict = admit(requests, Purses(batches={BATCH: budget}))

    assert sum(verdict.holds.values()) + held == budget.held_usd
    if any(verdict.holds.values()):
        assert spent + budget.held_usd <= limit


@pytest.mark.parametrize(
    ("label", "tenant", "short", "exhausted"),
    [
        ("what is held may come back", purse("1", held="0.95"), {"acme"}, set()),
        ("used up", purse("1", spent="0.95"), set(), {"acme"}),
        ("enough", purse("1"), set(), set()),
    ],
)
def test_tenant_pays_beside_its_batch_and_only_the_one_without_money_is_named(
    label, tenant, short, exhausted
):
    batch = purse("10")
    verdict = admit(asked("0.40"), Purses(None, {BATCH: batch}, {"acme": tenant}))

    assert (short, exhausted) == (verdict.short_tenants, verdict.exhausted_tenants)
    assert (set(), set()) == (verdict.short_batches, verdict.exhausted_batches)
    assert batch.held_usd == (0 if short | exhausted else Decimal("0.40"))


def test_budget_of_one_tenant_is_no_other_tenants_concern():
    requests = [
        Request(UUID(int=1), None, "poor", usd("0.40")),
        Request(UUID(int=2), None, "rich", usd("0.40")),
    ]
    verdict = admit(requests, Purses(tenants={"poor": purse("0.10")}))

    assert [UUID(int=2)] == verdict.admitted


@given(st.lists(st.tuples(cents, st.sampled_from("ab"), st.sampled_from((BATCH, OTHER, None)))), cents, cents)
def test_no_purse_is_passed_however_they_overlap(asked_for, budget, daily):
    purses = Purses(
        Purse(daily, Decimal(0), Decimal(0)),
        {BATCH: Purse(budget, Decimal(0), Decimal(0))},
        {"a": Purse(budget, Decimal(0), Decimal(0))},
    )
    requests = [
        Request(UUID(int=n), batch, tenant, price) for n, (price, tenant, batch) in enumerate(asked_for)
    ]
    verdict = admit(requests, purses)
    held = {one.job_id: one for one in requests if one.job_id in verdict.holds}

    for purse_, concerns in (
        (purses.brake, lambda _: True),
        (purses.batches[BATCH], lambda one: one.batch_id == BATCH),
        (purses.tenants["a"], lambda one: one.tenant == "a"),
    ):
        assert purse_.held_usd == sum(one.expected_usd for one in held.values() if concerns(one))
        assert purse_.held_usd <= purse_.limit_usd or not purse_.held_usd
