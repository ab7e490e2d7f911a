"""Embedded Postgres and Redis: for a laptop, for the demo, for tests.

    with open_engines(Path(".runware-jobs"), realm="emulator", idle_s=0) as engines:
        connect(engines.database_url)

The servers come from wheels, run without a port, and belong to one supervisor per (home, realm) that outlives its
clients for as long as they asked for. This room knows nothing of jobs and imports nothing else of runware_jobs.

    client  ── control socket ──▶  supervisor ──▶ postgres, valkey     engines.py
    open_engines, Engines              │      └──▶ services            services.py
                                       └──▶ guard: ends what a killed supervisor leaves behind
"""

from runware_jobs.embedded.binaries import Binaries, find_binaries
from runware_jobs.embedded.client import EMBEDDED_IDLE_S, Engines, down, open_engines, status
from runware_jobs.embedded.errors import (
    EmbeddedError,
    EngineFailed,
    EngineUnavailable,
    ServiceFailed,
    SocketDirUnsafe,
)
from runware_jobs.embedded.places import Realm
from runware_jobs.embedded.service import Service

__all__ = [
    "EMBEDDED_IDLE_S",
    "Binaries",
    "EmbeddedError",
    "EngineFailed",
    "EngineUnavailable",
    "Engines",
    "Realm",
    "Service",
    "ServiceFailed",
    "SocketDirUnsafe",
    "down",
    "find_binaries",
    "open_engines",
    "status",
]
