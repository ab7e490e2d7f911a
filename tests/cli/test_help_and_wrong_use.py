"""Every command explains itself, and wrong use is told in one line."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer

from runware_jobs.cli.app import build, run
from runware_jobs.cli.batch_files import read_budget, read_rows
from runware_jobs.cli.download import safe_name, suffix_of
from runware_jobs.cli.parameters import collect


def _commands():
    found = []

    def walk(command, path):
        inner = getattr(command, "commands", None)
        if inner is None:
            found.append(path)
            return
        for name, one in inner.items():
            walk(one, (*path, name))

    walk(typer.main.get_command(build()), ())
    return found


@pytest.mark.parametrize("path", _commands(), ids=" ".join)
def test_help_of_every_command_has_an_example(path, capsys):
    code = run([*path, "--help"])

    shown = capsys.readouterr().out
    assert code == 0
    assert f"Example: runware-jobs {' '.join(path)}" in " ".join(shown.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        pytest.param(["nix"], "nix", id="unknown command"),
        pytest.param(["run", "x", "--nix"], "--nix", id="unknown option"),
        pytest.param(["run", "x", "--size", "12"], "--size 1024x1024", id="size"),
        pytest.param(["run", "x", "--param", "steps"], "--param steps=20", id="parameter without value"),
        pytest.param(["run", "x", "--param", "a=@nix.png"], "nix.png", id="parameter from no file"),
        pytest.param(["run", "x", "--params", "nix.json"], "nix.json", id="no parameters file"),
        pytest.param(["upload", "nix.png"], "nix.png", id="no media file"),
        pytest.param(["batch", "submit", "p.txt", "--budget", "much"], "--budget 2.50", id="budget"),
        pytest.param(["keys", "revoke", "nix"], "nix", id="no id"),
        pytest.param(["demo", "--real"], "RUNWARE_API_KEY", id="demo for money without a key"),
        pytest.param(["up", "--real"], "RUNWARE_API_KEY", id="up for money without a key"),
        pytest.param(["emulator", "--speed", "0"], "speed", id="the emulator's own option"),
    ],
)
def test_wrong_use_exits_2_with_one_line(arguments, names, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    code = run(arguments)

    said = capsys.readouterr()
    assert code == 2
    assert said.out == ""
    assert names in said.err
    assert len(said.err.strip().splitlines()) == 1


def test_wrong_settings_are_told_in_one_line(capsys, monkeypatch):
    monkeypatch.setenv("RUNWARE_JOBS_DATABASE_URL", "postgresql://somewhere/jobs")

    code = run(["worker"])

    said = capsys.readouterr().err
    assert code == 2
    assert "RUNWARE_JOBS_BROKER_URL is not set" in said
    assert len(said.strip().splitlines()) == 1


def test_help_loads_neither_database_nor_web():
    program = (
        "import sys; from runware_jobs.cli.app import run; run(['--help']);"
        "heavy = {'sqlalchemy', 'celery', 'fastapi', 'starlette', 'PIL', 'av'} & set(sys.modules);"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_parameters_are_json_where_they_can_be_and_nest_by_dots(tmp_path):
    picture = tmp_path / "a.png"
    picture.write_bytes(b"x")

    collected = collect(
        model="runware:400@1",
        size="512x768",
        params=["steps=20", "negativePrompt=fog", 'lora=[{"weight": 0.5}]', f"inputs.image=@{picture}"],
    )

    assert collected == {
        "model": "runware:400@1",
        "width": 512,
        "height": 768,
        "steps": 20,
        "negativePrompt": "fog",
        "lora": [{"weight": 0.5}],
        "inputs": {"image": picture},
    }


def test_lines_of_text_are_prompts_and_lines_of_jsonl_are_parameters(tmp_path):
    (tmp_path / "a.txt").write_text("a lighthouse\n\n  a harbour \n")
    (tmp_path / "a.jsonl").write_text('{"positivePrompt": "a lighthouse", "custom_id": "7"}\n')

    assert list(read_rows(tmp_path / "a.txt")) == [
        (1, {"positivePrompt": "a lighthouse"}),
        (3, {"positivePrompt": "a harbour"}),
    ]
    assert list(read_rows(tmp_path / "a.jsonl")) == [
        (1, {"positivePrompt": "a lighthouse", "custom_id": "7"})
    ]


def test_names_of_saved_files_come_from_nowhere_dangerous():
    assert safe_name("../../etc/passwd: a «harbour» at dusk!") == "etc-passwd-a-harbour-at-dusk"
    assert safe_name("…") == "untitled"
    assert suffix_of("https://im.runware.ai/image/a.JPG?x=/../.sh") == ".jpg"
    assert suffix_of("https://im.runware.ai/image/a.p/h") == ""


def test_a_budget_is_read_as_a_person_writes_it():
    assert str(read_budget("$2.50")) == "2.50"
    assert read_budget(None) is None
