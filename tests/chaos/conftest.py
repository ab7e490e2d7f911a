"""How long and from which seed: told by the environment of `make chaos`, short otherwise."""

from __future__ import annotations

import os

import pytest

from tests.support.system import environment, jobs

__all__ = ["environment", "jobs"]


@pytest.fixture
def chaos_rounds() -> int:
    """How many rounds to run; each takes about half a minute."""
    return int(os.environ.get("CHAOS_ROUNDS", "1"))


@pytest.fixture
def chaos_seed() -> int:
    """The seed of the first round; the next ones follow it."""
    return int(os.environ.get("CHAOS_SEED", "1"))
