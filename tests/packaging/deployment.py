"""Read the files that start this project elsewhere: Procfile, docker-compose.yml, Dockerfile, Makefile."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
_DEFAULT = re.compile(r"\$\{\w+:-([^}]*)\}")


@dataclass(frozen=True, slots=True)
class Command:
    """One command of ours as a file writes it; `where` is for the name of the test."""

    where: str
    words: tuple[str, ...]

    def option(self, name: str) -> str | None:
        """Give the value of `--name value` or `--name=value`."""
        for place, word in enumerate(self.words):
            if word == f"--{name}":
                return self.words[place + 1]
            if word.startswith(f"--{name}="):
                return word.split("=", 1)[1]
        return None

    @property
    def options(self) -> list[str]:
        """Name the long options."""
        return [word.split("=", 1)[0] for word in self.words if word.startswith("--")]


def without_variables(text: str) -> str:
    """Put the default in place of each `${NAME:-default}`."""
    return _DEFAULT.sub(r"\1", text)


def procfile() -> dict[str, Command]:
    """Read the processes of the Procfile by name."""
    lines = (line.partition(": ") for line in (ROOT / "Procfile").read_text().splitlines() if line[:1] != "#")
    return {
        name: Command(f"Procfile {name}", tuple(shlex.split(without_variables(command))))
        for name, _, command in lines
    }


def compose() -> dict[str, Any]:
    """Read docker-compose.yml, anchors resolved."""
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def our_services() -> dict[str, dict[str, Any]]:
    """Give the services that run our image."""
    return {name: service for name, service in compose()["services"].items() if "build" in service}


def dockerfile() -> list[tuple[str, str]]:
    """Read the Dockerfile's instructions in order."""
    text = (ROOT / "Dockerfile").read_text()
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    return [
        (line.split(" ", 1)[0], line.split(" ", 1)[1].strip()) for line in lines.splitlines() if line.strip()
    ]


def commands() -> list[Command]:
    """Collect every command of ours in every file, health checks of workers included."""
    found = list(procfile().values())
    for name, service in our_services().items():
        found.append(Command(f"compose {name}", tuple(service["command"])))
        kind, *test = service.get("healthcheck", {}).get("test", ["NONE"])
        if kind == "CMD-SHELL":
            found.append(Command(f"compose {name} health", tuple(shlex.split(test[0]))))
    found += [
        Command("Dockerfile", tuple(json.loads(value))) for word, value in dockerfile() if word == "CMD"
    ]
    return found
