"""The same calls through the platform's own SDK and through our client, against the same emulator process.

Both have to send the same requests and come to the same results, callbacks and errors, but for what the
table in `intended.py` lists, each with its reason.
"""

from __future__ import annotations

import pytest

from tests.differential.calls import CALLS
from tests.differential.intended import ANYTHING, INTENDED, expected_differences
from tests.differential.kits import OFFICIAL, OURS
from tests.differential.observing import differences, observe

pytestmark = pytest.mark.slow

_CASES = [(name, transport) for name, call in CALLS.items() for transport in call.transports]


@pytest.mark.parametrize(("name", "transport"), _CASES)
async def test_both_clients_do_the_same_but_for_what_is_listed(emulator, name, transport):
    call = CALLS[name]
    observed = []
    for kit in (OFFICIAL, OURS):
        emulator.reset()
        emulator.configure(**emulator.usual, balance_usd=25_000)
        emulator.configure(**call.platform)
        emulator.inject(*call.faults)
        options = {"transport": transport, **call.options}
        observed.append(
            await observe(
                kit,
                emulator.address,
                call.do,
                options,
                in_any_order=call.in_any_order,
                shows_registry=call.shows_registry,
            )
        )
    found = {path: (official, ours) for path, official, ours in differences(*observed)}
    listed = expected_differences(name, transport)

    unlisted = {path: sides for path, sides in found.items() if path not in listed}
    gone = listed.keys() - found.keys()
    other = {
        path: sides for path, sides in found.items() if path in listed and not _fits(sides, listed[path])
    }
    assert not unlisted
    assert not gone
    assert not other


def test_each_listed_difference_has_a_call_and_a_reason():
    cases = set(_CASES)

    assert all(row.reason and row.leaves for row in INTENDED)
    assert all(row.cases for row in INTENDED)
    assert all(case in cases for row in INTENDED for case in row.cases)


def _fits(found, listed):
    return all(said is ANYTHING or said == seen for seen, said in zip(found, listed, strict=True))
