"""What all tables have in common: their schema, the names of their constraints, kinds of columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import CheckConstraint, Column, Integer, MetaData, Numeric, text
from sqlalchemy.dialects.postgresql import TIMESTAMP

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA: Final = "runware_jobs"

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
