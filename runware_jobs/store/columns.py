"""What all tables have in common: their schema, the names of their constraints, kinds of columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import CheckConstraint, Column, Integer, MetaData, Numeric, text
from sqlalchemy.dialects.postgresql import TIMESTAMP

from runware_jobs.core.states import WAITING_FOR_INPUTS as _WAITING
from runware_jobs.core.states import Inputs, JobState

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA: Final = "runware_jobs"

_GO = ", ".join(f"'{state}'" for state in Inputs if state not in _WAITING)
_WAIT = ", ".join(f"'{state}'" for state in Inputs if state in _WAITING)

# Conditions of partial indexes of `job`: a query is served by one only when it repeats the words.
CLAIMABLE: Final = f"state = '{JobState.QUEUED}' AND (inputs IS NULL OR inputs IN ({_GO}))"
WAITING_FOR_INPUTS: Final = f"state = '{JobState.QUEUED}' AND inputs IN ({_WAIT})"

# True, and lets this transaction's commit not wait for the disk: for what a crash may forget.
UNHURRIED: Final = "set_config('synchronous_commit', 'off', true) = 'off'"

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "ix": "%(table_name)s_%(column_0_name)s_idx",
    },
)


SPENT_TODAY: Final = "CASE WHEN spend_day >= CAST(clock_timestamp() AS date) THEN spent_usd ELSE 0 END"
"""What an account has spent on the day that it is now. A day ahead of the reader's counts, too: whoever wrote it
has seen midnight pass, and the brake must not forget it."""


def when(name: str, *, nullable: bool = True) -> Column[object]:
    """Make a time column; one that may not be null defaults to now()."""
    default = None if nullable else text("now()")
    return Column(name, TIMESTAMP(timezone=True), nullable=nullable, server_default=default)


def money(name: str, *, nullable: bool = True) -> Column[object]:
    return Column(name, Numeric(14, 6), nullable=nullable, server_default=None if nullable else text("0"))


def one_of(column: str, values: Iterable[str]) -> CheckConstraint:
    allowed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({allowed})", name=column)


def count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default=text("0"))
