"""The whole system, for the examples of the README."""

from __future__ import annotations

from tests.support.system import environment, jobs

__all__ = ["environment", "jobs"]
