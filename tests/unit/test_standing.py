"""What pauses an account and what ends it: a table."""

from __future__ import annotations

from decimal import Decimal

import pytest

from runware_jobs.core.standing import Doubt, Lift, PauseKind, Standing, confirmed, lifted

SILENT = Standing(key_accepted=None)
REFUSED = Standing(key_accepted=False)
MUTE = Standing(key_accepted=True)
EMPTY = Standing(key_accepted=True, balance_usd=Decimal(0))
OWING = Standing(key_accepted=True, balance_usd=Decimal("-0.01"))
SOLVENT = Standing(key_accepted=True, balance_usd=Decimal("0.01"))


@pytest.mark.parametrize(
    ("label", "kind", "some_accepted", "standing", "pause"),
    [
        ("no answer confirms nothing", PauseKind.AUTH, False, SILENT, None),
        ("no answer about credits neither", PauseKind.CREDITS, False, SILENT, None),
        ("the key is refused", PauseKind.AUTH, False, REFUSED, PauseKind.AUTH),
        ("the key is refused, whatever made us ask", PauseKind.CREDITS, False, REFUSED, PauseKind.AUTH),
        ("the key is taken", PauseKind.AUTH, False, SOLVENT, None),
        ("the key is taken, and may not read", PauseKind.AUTH, False, MUTE, None),
        ("nothing is left", PauseKind.CREDITS, False, EMPTY, PauseKind.CREDITS),
        ("less than nothing is left", PauseKind.CREDITS, True, OWING, PauseKind.CREDITS),
        ("something is left", PauseKind.CREDITS, False, SOLVENT, None),
        ("nobody contradicts", PauseKind.CREDITS, False, MUTE, PauseKind.CREDITS),
        ("a neighbour was taken", PauseKind.CREDITS, True, MUTE, None),
    ],
)
def test_only_what_is_confirmed_pauses(label, kind, some_accepted, standing, pause):
    doubt = Doubt(kind=kind, message="no", some_accepted=some_accepted)

    assert confirmed(doubt, standing) is pause, label


@pytest.mark.parametrize(
    ("label", "kind", "standing", "lift"),
    [
        ("no answer", PauseKind.AUTH, SILENT, Lift.STAY),
        ("still refused", PauseKind.AUTH, REFUSED, Lift.STAY),
        ("taken again", PauseKind.AUTH, MUTE, Lift.RESUME),
        ("taken again, and the balance is another matter", PauseKind.AUTH, EMPTY, Lift.RESUME),
        ("still nothing", PauseKind.CREDITS, EMPTY, Lift.STAY),
        ("money", PauseKind.CREDITS, SOLVENT, Lift.RESUME),
        ("nobody may say", PauseKind.CREDITS, MUTE, Lift.TRY),
        ("the key meanwhile", PauseKind.CREDITS, REFUSED, Lift.STAY),
        ("a person's", PauseKind.HAND, SOLVENT, Lift.STAY),
    ],
)
def test_pause_ends_when_its_own_reason_is_gone(label, kind, standing, lift):
    assert lifted(kind, standing) is lift, label
