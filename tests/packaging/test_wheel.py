"""The package as users get it: what is inside, and that it works where nothing else is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

from tests.packaging.deployment import ROOT
from tests.packaging.test_lock import PINNED
from tests.support.leftovers import processes_about
from tests.support.polling import poll_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

# Read at run time, by a name in a string: nothing but these tests would miss them.
READ_AT_RUN_TIME = {
    "runware_jobs/py.typed",
    *(
        f"runware_jobs/schemas/{name}.json"
        for name in ("registry", "models", "architectures", "operations", "utilities", "results", "legacy")
    ),
    "runware_jobs/emulator/page.html",
    "runware_jobs/emulator/page.css",
    "runware_jobs/emulator/page.js",
    "runware_jobs/emulator/models/community.json",
    "runware_jobs/emulator/prices.json",
    "runware_jobs/cli/prompts.txt",
    "runware_jobs/migrations/env.py",
    "runware_jobs/migrations/script.py.mako",
    "runware_jobs/migrations/versions/0001_first_tables.py",
    "runware_jobs/migrations/versions/0002_limits_and_pauses.py",
    "runware_jobs/migrations/versions/0003_what_leaves.py",
}


def run(*words, **options):
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist, and the wheel made from it, as `python -m build` makes them for a release."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    [path] = built.glob("runware_jobs-*-py3-none-any.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder of scripts of an environment with the wheel and what it asks for, in locked versions."""
    folder = tmp_path_factory.mktemp("clean")
    locked = folder / "constraints.txt"
    locked.write_text("".join(f"{name}=={version}\n" for name, version in PINNED.items()))
    run(sys.executable, "-m", "venv", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    if uv := shutil.which("uv"):
        run(uv, "pip", "install", "--quiet", "--python", python, "--constraint", locked, wheel)
    else:
        run(python, "-m", "pip", "install", "--quiet", "--constraint", locked, wheel)
    return python.parent


@pytest.fixture
def in_empty_home(installed, tmp_path):
    """Run our command there, without any setting; then nothing of it may be left."""

    def command(*words):
        environment = {
            "PATH": f"{installed}:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "RUNWARE_JOBS_EMBEDDED_IDLE_S": "0",
        }
        options = {"cwd": tmp_path, "env": environment, "stdin": subprocess.DEVNULL, "timeout": 180}
        return run(installed / "runware-jobs", *words, **options)

    yield command
    poll_until(lambda: not processes_about(tmp_path), what="the end of every process")
    shutil.rmtree(tmp_path)


def test_wheel_holds_every_module_and_what_they_read(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    sources = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "runware_jobs").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert (sources | READ_AT_RUN_TIME) - inside == set()


def test_wheel_holds_nothing_else(wheel):
    outside = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}

    assert sorted(name.partition("-")[0] for name in outside) == ["runware_jobs", "runware_jobs"]


def test_sdist_holds_what_the_tests_need_and_no_data(built):
    [path] = built.glob("runware_jobs-*.tar.gz")
    with tarfile.open(path) as archive:
        top = {name.split("/")[1] for name in archive.getnames()}

    assert {"tests", "migrations", "runware_jobs", "requirements.lock", "LICENSE"} <= top
    assert top & {".venv", ".env", ".runware-jobs", ".git", "dist"} == set()


def test_every_module_can_be_imported_with_what_the_wheel_asks_for(installed, tmp_path):
    program = """
import importlib, pkgutil, sys
import runware_jobs
names = [m.name for m in pkgutil.walk_packages(runware_jobs.__path__, "runware_jobs.")]
names = [n for n in names if ".migrations" not in n and not n.endswith("__main__")]
for name in names:
    importlib.import_module(name)
print(len(names), runware_jobs.__file__)
"""
    shown = run(
        installed / "python", "-c", program, cwd=tmp_path, env={"HOME": str(tmp_path), "PATH": os.defpath}
    )

    assert str(installed.parent) in shown


def test_migrate_works_from_an_empty_folder(in_empty_home):
    in_empty_home("migrate")


def test_demo_works_from_an_empty_folder(in_empty_home):
    in_empty_home("demo", "--quick")
