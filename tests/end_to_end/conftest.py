"""The whole system: real Postgres, real broker, an emulator and workers as processes."""

from __future__ import annotations

from tests.support.system import environment, jobs

__all__ = ["environment", "jobs"]
