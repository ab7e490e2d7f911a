"""The programs that `demo` and `up` run beside the embedded engines: emulator, worker, API.

They are services of this process' lease: the supervisor stops them, and then the
engines, when the connection ends, however this process ends.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .download import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from runware_jobs.assembly import Services
    from runware_jobs.embedded import Engines, Service
    from runware_jobs.settings import Settings

EMULATOR_PORT: Final = 9300
API_PORT: Final = 9400
_LOCALHOST: Final = "127.0.0.1"
_READY_WITHIN_S: Final = 60.0
_GRACE_S: Final = 15.0
_EMULATOR_SAYS: Final = "emulator ready "
_API_SAYS: Final = "api_listening"
_WORKER_SAYS: Final = "worker_ready"
_URL: Final = re.compile(rf"http://{re.escape(_LOCALHOST)}:\d+")


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs: settings to reach it with, and its addresses. `emulator_url` None: the real platform."""

    settings: Settings
    services: Services
    api_url: str
    emulator_url: str | None

    @property
    def engines(self) -> Engines:
        """The lease that everything hangs on."""
        engines: Engines = self.services.embedded
        return engines

    @property
    def log_dir(self) -> Path:
        """Where each program's log is."""
        return self.engines.log_dir


@contextlib.contextmanager
def open_stage(
    settings: Settings,
    *,
    emulator_port: int,
    api_port: int,
    emulator_options: tuple[str, ...] = (),
    emulator_may_move: bool = True,
    own_account: bool = False,
    prefix: str = "",
) -> Iterator[Stage]:
    """Start the engines and the programs; on leaving everything has stopped that nobody else uses.

    Against the real platform when `settings` name it, else against an emulator of
    its own on `emulator_port`. A port that is taken (0: any) is exchanged for a free
    one; the emulator's only if it may move, since jobs belong to its address. `own_account` gives it a key that nobody else has,
    and so an account whose jobs only this stage's worker claims. `prefix` begins
    the names of the services and logs.

    Raises:
        EmbeddedError: an engine or a program did not start; the message ends with its log.
    """
    from runware_jobs.assembly import find_services  # noqa: PLC0415  loads the database

    services = find_services(settings)
    try:
        yield _start(
            settings,
            services,
            emulator_port=emulator_port,
            api_port=api_port,
            emulator_options=emulator_options,
            emulator_may_move=emulator_may_move,
            own_account=own_account,
            prefix=prefix,
        )
    finally:
        services.embedded.close()
        _stop_unused(settings)


def _stop_unused(settings: Settings) -> None:
    """Stop engines that stay only because a command of a minute ago might be followed by another.

    Whoever ends `up` or a demo expects nothing to run; a client that is connected
    now keeps them.
    """
    from runware_jobs import embedded  # noqa: PLC0415  loaded by commands that use it

    known = embedded.status(settings.home, realm=settings.realm)
    if known is not None and not known["clients"]:
        embedded.down(settings.home, realm=settings.realm)


def _start(
    settings: Settings,
    services: Services,
    *,
    emulator_port: int,
    api_port: int,
    emulator_options: tuple[str, ...],
    emulator_may_move: bool,
    own_account: bool,
    prefix: str,
) -> Stage:
    emulator_url = None
    if settings.realm == "emulator":
        emulator_url = _start_listening(
            lambda port: _start_emulator(services, port, emulator_options, prefix),
            port=emulator_port,
            says=_EMULATOR_SAYS,
            may_move=emulator_may_move,
        )
    reached = _settings_of(settings, services, emulator_url, own_account=own_account)
    env = _environment(reached, services)
    # Both import for a second or more: side by side.
    worker = _run(services, f"{prefix}worker", "worker", env=env)
    api_url = _start_listening(
        lambda port: _run(services, f"{prefix}api", "api", f"--host={_LOCALHOST}", f"--port={port}", env=env),
        port=api_port,
        says=_API_SAYS,
        may_move=True,
    )
    # Jobs are enqueued only when the worker has said who it is: from then on the
    # account is its own, and no job hangs on one that nobody serves.
    worker.wait_until_ready(lambda one: _WORKER_SAYS in one.log_text(), timeout_s=_READY_WITHIN_S)
    return Stage(
        settings=reached,
        services=services,
        api_url=api_url,
        emulator_url=emulator_url,
    )


def _start_listening(start: Callable[[int], Service], *, port: int, says: str, may_move: bool) -> str:
    """Start a server and give the URL that it says; on a free port when its own is taken.

    Looking whether a port is free and taking it are two moments: somebody else may
    come between, and then the server ends at once.
    """
    from runware_jobs.embedded import ServiceFailed  # noqa: PLC0415  loaded by commands that use it

    service = start(port)
    try:
        service.wait_until_ready(lambda one: says in one.log_text(), timeout_s=_READY_WITHIN_S)
    except ServiceFailed:
        if port == 0 or not may_move:
            raise
        return _start_listening(start, port=0, says=says, may_move=False)
    line = next(line for line in service.log_text().splitlines() if says in line)
    found = _URL.search(line)
    assert found is not None  # noqa: S101  the line is the one that names it
    return found.group()


def _start_emulator(services: Services, port: int, options: tuple[str, ...], prefix: str) -> Service:
    service: Service = services.embedded.run_service(
        f"{prefix}emulator",
        [sys.executable, "-m", "runware_jobs.emulator", "--quiet", f"--port={port}", *options],
        env=_clean_environment(),
        grace_s=_GRACE_S,
    )
    return service


def _settings_of(
    settings: Settings, services: Services, emulator_url: str | None, *, own_account: bool
) -> Settings:
    values: dict[str, Any] = {
        "database_url": services.database_url,
        "broker_url": services.broker_url,
        "secret_key": services.secret_key,
        # Followed from a terminal: a wait of seconds is one too long.
        "poll_min_interval_s": min(settings.poll_min_interval_s, 0.3),
    }
    if emulator_url is not None:
        from runware_jobs.platform_access import EMULATOR_KEY  # noqa: PLC0415  loads the database

        values |= {
            "http_base_url": f"{emulator_url}/v1",
            "ws_base_url": f"{emulator_url.replace('http://', 'ws://', 1)}/v1",
            "api_key": f"demo-{secrets.token_hex(6)}" if own_account else EMULATOR_KEY,
            # Whoever tries webhooks here has a receiver on this machine.
            "allow_private_webhooks": True,
        }
    return settings_with(**values)


def settings_with(**values: Any) -> Settings:
    """Read the settings from the environment, with these in place of what is there."""
    from runware_jobs.settings import Settings  # noqa: PLC0415  loaded by commands that use it

    return Settings(**values)


def _environment(settings: Settings, services: Services) -> dict[str, str]:
    from runware_jobs.assembly import environment_of  # noqa: PLC0415  loads the database

    env = {
        **os.environ,
        **environment_of(settings, services),
        "RUNWARE_JOBS_HOME": str(settings.home.resolve()),
        "RUNWARE_JOBS_POLL_MIN_INTERVAL_S": str(settings.poll_min_interval_s),
    }
    if is_loopback(settings.http_base_url):
        env["RUNWARE_JOBS_ALLOW_PRIVATE_WEBHOOKS"] = "true"
    return env


def _clean_environment() -> dict[str, str]:
    """The emulator stands alone: it has no use for keys and URLs of others."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RUNWARE_")}


def _run(services: Services, name: str, *arguments: str, env: dict[str, str]) -> Service:
    service: Service = services.embedded.run_service(
        name, [sys.executable, "-m", "runware_jobs", *arguments], env=env, grace_s=_GRACE_S
    )
    return service


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOCALHOST, port))
        except OSError:
            return False
    return True
