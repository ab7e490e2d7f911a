"""The Procfile starts everything on a machine that has nothing, and everything stops with it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.packaging.deployment import ROOT
from tests.support.leftovers import processes_about
from tests.support.polling import poll_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
SCRIPTS = Path(sys.executable).parent


def free_ports(count):
    """Ports that nobody listens on now; all held at once, so that no two are the same."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def answer(url):
    """What a server that may not be there yet answers, or None."""
    try:
        response = httpx.get(url, timeout=10)
    except httpx.TransportError:
        return None
    return response if response.is_success else None


@contextmanager
def honcho(folder, environment):
    """Run everything of the Procfile in `folder`, as its home; what it said is printed at the end."""
    log = folder / "log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            [SCRIPTS / "honcho", "-f", ROOT / "Procfile", "-d", folder, "start"],
            cwd=folder,
            env={"PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            finally:
                process.kill()
                sys.stdout.write(log.read_text())


def test_everything_starts_in_an_empty_home_and_nothing_stays(tmp_path):
    api, flower, emulator = free_ports(3)
    environment = {
        "API_PORT": str(api),
        "FLOWER_PORT": str(flower),
        "EMULATOR_PORT": str(emulator),
        "FLOWER_UNAUTHENTICATED_API": "true",
        "RUNWARE_JOBS_HTTP_BASE_URL": f"http://127.0.0.1:{emulator}/v1",
        "RUNWARE_JOBS_EMBEDDED_IDLE_S": "0",
    }

    def workers(runner):
        assert runner.poll() is None, "one of the processes has ended, and all with it"
        seen = answer(f"http://127.0.0.1:{flower}/api/workers?refresh=1")
        found = seen.json() if seen else {}
        return [name for name, worker in found.items() if "runware_jobs" in str(worker.get("active_queues"))]

    with honcho(tmp_path, environment) as runner:
        [worker] = poll_until(lambda: workers(runner), what="our worker in Flower", within_s=90)
        assert worker.startswith("celery-")
        assert poll_until(lambda: answer(f"http://127.0.0.1:{api}/healthz"), what="the API")
        assert poll_until(
            lambda: answer(f"http://127.0.0.1:{emulator}/_emulator/config"), what="the emulator"
        )

    poll_until(lambda: not processes_about(tmp_path), what="the end of every process")
