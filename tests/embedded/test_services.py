"""Programs that run under the supervisor for a client."""

from __future__ import annotations

import os
import signal
import sys
import threading

import psutil
import pytest

from runware_jobs.embedded import EmbeddedError, ServiceFailed, status
from runware_jobs.embedded.client import open_engines
from tests.embedded.processes import wait_until_gone

# Says "up", and its name once more into a file when it is asked to stop.
POLITE = """
import signal, sys
def stop(number, frame):
    with open(sys.argv[2], "a") as told:
        print(sys.argv[1], file=told)
    sys.exit(3)
signal.signal(signal.SIGTERM, stop)
print("up", flush=True)
signal.pause()
"""

# Starts a child that refuses to stop, and stops itself when asked.
WITH_STUBBORN_CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", '''
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
signal.pause()
'''])
print(child.pid, flush=True)
child.wait()
"""

STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
signal.pause()
"""


def _is_up(service) -> bool:
    return "up" in service.log_text()


def test_service_runs_with_its_own_environment_folder_and_log(engines, tmp_path):
    program = "import os; print(os.environb[b'GIVEN'], os.getcwd())"
    service = engines.run_service(
        "once",
        [sys.executable, "-c", program],
        env={"GIVEN": "väl\udcff"},
        cwd=tmp_path,
        log_path=tmp_path / "once.log",
    )

    assert service.wait(timeout_s=10) == 0
    assert service.log_text().split() == [str("väl".encode() + b"\xff"), str(tmp_path)]


def test_service_is_out_of_reach_of_ctrl_c(engines, tmp_path):
    service = engines.run_service(
        "apart", [sys.executable, "-c", POLITE, "apart", str(tmp_path / "told")], ready=_is_up
    )

    assert os.getsid(service.pid) == service.pid
    assert os.getsid(engines.supervisor_pid) != os.getsid(0)
    assert service.stop() == 3


def test_services_stop_in_reverse_order_when_the_client_lets_go(warm_home, tmp_path):
    told = tmp_path / "told"
    with open_engines(warm_home, realm="emulator", idle_s=0) as engines:
        services = [
            engines.run_service(name, [sys.executable, "-c", POLITE, name, str(told)], ready=_is_up)
            for name in ("emulator", "worker", "api")
        ]

    assert told.read_text().split() == ["api", "worker", "emulator"]
    assert [service.returncode for service in services] == [3, 3, 3]


def test_service_of_one_client_survives_another_client(engines, tmp_path):
    home = engines.log_dir.parent.parent
    service = engines.run_service(
        "mine", [sys.executable, "-c", POLITE, "mine", str(tmp_path / "told")], ready=_is_up
    )

    open_engines(home, realm="emulator", idle_s=0).close()

    assert service.is_running
    assert "mine" in [running["name"] for running in status(home, realm="emulator")["services"]]
    service.stop()


def test_stop_takes_what_the_service_started_itself(engines):
    service = engines.run_service("family", [sys.executable, "-c", WITH_STUBBORN_CHILD], ready=_is_up)
    child = psutil.Process(int(service.log_text().split()[0]))

    assert service.stop() == -signal.SIGTERM
    assert wait_until_gone([child]) == []


def test_service_that_ignores_the_request_is_killed_after_its_grace(engines):
    service = engines.run_service("stubborn", [sys.executable, "-c", STUBBORN], ready=_is_up)

    assert service.stop(grace_s=0.05) == -signal.SIGKILL


def test_wait_gives_up_in_time_and_another_thread_may_stop_meanwhile(engines, tmp_path):
    service = engines.run_service(
        "waited", [sys.executable, "-c", POLITE, "waited", str(tmp_path / "told")], ready=_is_up
    )
    with pytest.raises(TimeoutError):
        service.wait(timeout_s=0.05)

    stopper = threading.Thread(target=service.stop)
    stopper.start()

    assert service.wait(timeout_s=10) == 3
    stopper.join()


def test_service_that_ends_before_it_is_ready_is_reported_with_its_log(engines):
    with pytest.raises(
        ServiceFailed, match=r"short ended before it was ready \(exit 4\)(.|\n)*no such port"
    ) as caught:
        engines.run_service("short", [sys.executable, "-c", "print('no such port'); exit(4)"], ready=_is_up)

    assert caught.value.returncode == 4


def test_service_that_is_never_ready_is_stopped(engines):
    with pytest.raises(ServiceFailed, match=r"slow was not ready within 0\.05 s"):
        engines.run_service(
            "slow",
            [sys.executable, "-c", STUBBORN],
            ready=lambda _: False,
            ready_timeout_s=0.05,
            grace_s=0.05,
        )

    assert "slow" not in [
        s["name"] for s in status(engines.log_dir.parent.parent, realm="emulator")["services"]
    ]


def test_program_that_does_not_exist_is_refused(engines):
    with pytest.raises(EmbeddedError, match=r"service ghost cannot be started .*/no/such/program"):
        engines.run_service("ghost", ["/no/such/program"])


def test_empty_command_is_refused(engines):
    with pytest.raises(EmbeddedError, match="argv of the service nothing is empty"):
        engines.run_service("nothing", [])
