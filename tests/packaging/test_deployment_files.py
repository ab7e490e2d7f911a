"""What the files for Docker, Procfile runners and make say is true of the code."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest
import tornado.options
from celery.bin.celery import celery as celery_command
from flower.command import flower as flower_command

import runware_jobs.worker
from runware_jobs.emulator import Config
from runware_jobs.settings import Settings
from tests.packaging.deployment import ROOT, commands, compose, dockerfile, our_services, procfile

COMMANDS = pytest.mark.parametrize("command", commands(), ids=lambda command: command.where)
# The defaults that people know by heart (DESIGN 8).
PORTS = {"api": 9400, "emulator": Config().port, "flower": 5555}
NAMES = {
    (field.validation_alias if isinstance(field.validation_alias, str) else f"RUNWARE_JOBS_{name.upper()}")
    for name, field in Settings.model_fields.items()
}


@lru_cache
def help_of(name: str) -> str:
    """What our command line says about one of its commands."""
    shown = subprocess.run(
        [Path(sys.executable).with_name("runware-jobs"), name, "--help"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "", "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"},
    )
    assert shown.returncode == 0, shown.stderr
    return shown.stdout


@COMMANDS
def test_every_command_is_one_of_ours(command):
    program, *rest = command.words

    if program == "celery":
        assert rest[:2] == ["-A", "runware_jobs.worker"]
        assert runware_jobs.worker.app.main == "runware_jobs"
        assert rest[2] in {*celery_command.commands, flower_command.name}
    else:
        assert program == "runware-jobs"
        assert help_of(rest[0])


@COMMANDS
def test_every_option_is_known_to_its_command(command):
    known = (
        help_of(command.words[1]) if command.words[0] == "runware-jobs" else known_to_celery(command.words[3])
    )

    assert [option for option in command.options if option not in known] == []


def known_to_celery(name: str) -> list[str]:
    if name == flower_command.name:
        return [f"--{option}" for option in tornado.options.options]
    return [option for parameter in celery_command.commands[name].params for option in parameter.opts]


def test_every_setting_that_a_file_names_exists():
    named = {
        name
        for file in ("docker-compose.yml", "Dockerfile", "Procfile", "Makefile", ".ci/run")
        for name in re.findall(r"RUNWARE_API_KEY|RUNWARE_JOBS_[A-Z_]+[A-Z]", (ROOT / file).read_text())
    }

    assert named <= NAMES
    assert named


@pytest.mark.parametrize("name", PORTS)
def test_port_is_the_one_that_people_know(name):
    published = our_services()[name]["ports"]
    in_compose, in_procfile = our_services()[name]["command"], procfile()[name].option("port")

    assert in_procfile == str(PORTS[name])
    assert str(PORTS[name]) in " ".join(in_compose)
    # On loopback: whoever wants to publish more decides so.
    assert published == [f"127.0.0.1:{PORTS[name]}:{PORTS[name]}"]


def test_image_exposes_and_checks_the_port_of_the_api():
    lines = dict(dockerfile())

    assert lines["EXPOSE"] == str(PORTS["api"])
    assert f":{PORTS['api']}/healthz" in lines["HEALTHCHECK"]


def test_image_runs_as_nobody_special_and_stops_gently():
    lines = dockerfile()
    stages = [value for word, value in lines if word == "FROM"]
    last = lines[[place for place, (word, _) in enumerate(lines) if word == "FROM"][-1] :]

    assert [stage.split()[0] for stage in stages] == ["python:3.13-slim"] * 2
    assert ("STOPSIGNAL", "SIGTERM") in last
    assert [value for word, value in last if word == "USER"] == ["10001:10001"]
    # The secrets of a build argument or variable stay in the image for ever.
    assert not [value for _, value in lines if "API_KEY" in value or "SECRET" in value]


def test_image_is_built_without_a_compiler():
    installed = " ".join(value for word, value in dockerfile() if word == "RUN")

    assert "--only-binary :all:" in installed
    assert not re.search(r"apt|apk|gcc|build-essential", installed)


def test_image_is_built_from_all_that_the_wheel_needs_and_nothing_private():
    rules = (ROOT / ".dockerignore").read_text().split("\n")
    rules = [rule for rule in rules if rule and not rule.startswith("#")]

    needed = ["pyproject.toml", "requirements.lock", "README.md", "LICENSE", "examples/prompts.txt"]
    assert [path for path in (*needed, "runware_jobs", "migrations") if is_ignored(path, rules)] == []
    private = [".env", ".git", ".venv", ".runware-jobs", "tests", "examples/plain.py"]
    assert [path for path in private if not is_ignored(path, rules)] == []


def is_ignored(path: str, rules: list[str]) -> bool:
    """Decide as Docker does: the last rule that fits a path counts."""
    ignored = False
    for rule in rules:
        if fnmatch.fnmatch(path, rule.removeprefix("!")):
            ignored = not rule.startswith("!")
    return ignored


def test_nothing_starts_before_the_schema_is_there():
    for name in ("api", "worker", "flower"):
        assert our_services()[name]["depends_on"]["migrate"] == {
            "condition": "service_completed_successfully"
        }


def test_only_what_asks_for_a_login_or_loopback_is_published():
    assert not [name for name in ("postgres", "valkey", "worker") if "ports" in compose()["services"][name]]


def test_data_of_postgres_outlives_its_container():
    [volume] = compose()["services"]["postgres"]["volumes"]

    assert volume == "postgres:/var/lib/postgresql"
    assert "postgres" in compose()["volumes"]
