"""Write `runware_jobs/client/types/` and `runware_jobs/client/typed_run.py` from the schema bundle.

    python -m scripts.generate_types [FOLDER]

FOLDER is `runware_jobs/client` when left out. One module per task type, one for the utilities, one for
the lookup tables. Params are what a caller writes: what the client fills in is not required, and
parameters of older releases stand in the base of their task type. How a schema becomes text: `type_text`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.overload_text import typed_run_module
from scripts.result_shapes import ResultShapes
from scripts.type_text import (
    HEADER,
    PARAMS_WORDING,
    ClassText,
    Fields,
    fields_of,
    long_sets,
    module_text,
    open_fields,
    shared_fields,
    snake,
)

if TYPE_CHECKING:
    from scripts.schema_facts import Schema

ROOT = Path(__file__).parent.parent
BUNDLE = ROOT / "runware_jobs" / "schemas"
CLIENT = ROOT / "runware_jobs" / "client"

_KINDS = {
    "models": "the model `{}`",
    "architectures": "models of the architecture `{}`",
    "operations": "`{}`, whatever the model",
    "utilities": "the utility `{}`",
}
# What these name is the task to be looked up, so the client cannot fill it in.
_ASK_BY_TASK_UUID = {"getResponse", "getTaskDetails"}


@dataclass(frozen=True, slots=True)
class Bundle:
    """The files of the schema bundle as they are, `legacy` by task type."""

    files: dict[str, dict[str, Schema]]
    legacy: dict[str, Schema]
    registry: Schema


@dataclass(frozen=True, slots=True)
class Params:
    """One Params class: its name, what it is for, its fields, and whether its models take more than it names."""

    title: str
    purpose: str
    fields: Fields
    is_open: bool


def main(client: Path = CLIENT) -> None:
    """Write all generated modules below `client`."""
    bundle = read_bundle()
    files = {client / "types" / f"{name}.py": text for name, text in type_modules(bundle).items()}
    files[client / "typed_run.py"] = typed_run_module(_result_shapes(bundle))
    (client / "types").mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text)
    _tidy(list(files))


def read_bundle(folder: Path = BUNDLE) -> Bundle:
    """Read the bundle."""

    def read(name: str) -> Schema:
        content: Schema = json.loads((folder / f"{name}.json").read_bytes())
        return content

    names = (*_KINDS, "results")
    return Bundle({name: read(name)["schemas"] for name in names}, read("legacy"), read("registry"))


def type_modules(bundle: Bundle) -> dict[str, str]:
    """Give the text of each module of the types package, by module name."""
    params = _params_by_task_type(bundle)
    shapes = _result_shapes(bundle)
    sets = long_sets(one.fields for group in params.values() for one in group)
    utilities = {entry["taskType"] for entry in bundle.files["utilities"].values()}
    modules: dict[str, str] = {}
    for task_type in sorted(set(params) - utilities):
        classes = [*_params_classes(task_type, params[task_type], bundle.legacy), *shapes.classes(task_type)]
        modules[module_name(task_type, shapes)] = module_text(
            f"Params and results of `{task_type}`.", classes, shapes.aliases(task_type), sets
        )
    of_utilities: list[ClassText] = []
    aliases: dict[str, str] = {}
    for task_type in sorted(utilities):
        of_utilities += _params_classes(task_type, params[task_type], bundle.legacy)
        of_utilities += shapes.classes(task_type)
        aliases |= shapes.aliases(task_type)
    modules["utilities"] = module_text("Params and results of the utilities.", of_utilities, aliases, sets)
    modules["values"] = _values_module(sets)
    modules["lookups"] = _lookups_module(bundle)
    modules["__init__"] = _package_module(sorted(modules))
    return modules


def module_name(task_type: str, shapes: ResultShapes) -> str:
    """Name the module of a task type: `three_d_inference` for "3dInference"."""
    return snake(shapes.title(task_type) or task_type)


# ---- params ---------------------------------------------------------------------------------------


def _params_by_task_type(bundle: Bundle) -> dict[str, list[Params]]:
    groups: dict[str, list[Params]] = defaultdict(list)
    for file, purpose in _KINDS.items():
        for key, entry in bundle.files[file].items():
            task_type, schema = entry["taskType"], entry["requestSchema"]
            groups[task_type].append(
                Params(
                    title=entry["title"],
                    purpose=purpose.format(key),
                    fields=_params_fields(task_type, schema, bundle.legacy.get(task_type, {})),
                    is_open=schema["additionalProperties"],
                )
            )
    for task_type, legacy in bundle.legacy.items():
        if "title" in legacy:
            fields = _params_fields(task_type, legacy, {})
            groups[task_type].append(
                Params(legacy["title"], f"`{task_type}`, a legacy task type", fields, is_open=False)
            )
    return groups


def _params_fields(task_type: str, schema: Schema, legacy: Schema) -> Fields:
    filled_in = {"taskType"} if task_type in _ASK_BY_TASK_UUID else {"taskType", "taskUUID"}
    required = set(schema["required"]) - filled_in
    return fields_of(schema, PARAMS_WORDING, required=required, added_values=legacy.get("values"))


def _params_classes(task_type: str, group: list[Params], legacy: dict[str, Schema]) -> list[ClassText]:
    """Give the base of a task type and one class per entry, which names what the base does not."""
    known = legacy.get(task_type, {})
    properties = {} if "title" in known else known.get("properties", {})
    legacy_fields = fields_of({"properties": properties}, PARAMS_WORDING, required=set())
    if len(group) == 1:
        one = group[0]
        return [
            ClassText(f"{one.title}Params", f"Params of {one.purpose}.", one.fields, legacy=legacy_fields)
        ]
    shared = shared_fields([one.fields for one in group])
    base = f"_{task_type[0].upper()}{task_type[1:]}".replace("_3d", "_ThreeD") + "Base"
    classes = [ClassText(base, f"What every `{task_type}` takes.", shared, legacy=legacy_fields)]
    every = [one.fields for one in group]
    for one in group:
        own = {name: kind for name, kind in one.fields.items() if name not in shared}
        further = open_fields(every, without=one.fields) if one.is_open else {}
        classes.append(
            ClassText(f"{one.title}Params", f"Params of {one.purpose}.", own, further=further, base=base)
        )
    return classes


# ---- results and the rest -------------------------------------------------------------------------


def _result_shapes(bundle: Bundle) -> ResultShapes:
    utilities = {entry["taskType"]: entry for entry in bundle.files["utilities"].values()}
    return ResultShapes(canonical=utilities | bundle.files["results"], models=bundle.files["models"])


def _values_module(sets: dict[str, str]) -> str:
    lines = [
        HEADER.format("Types that more than one module uses."),
        "from pathlib import Path",
        "from typing import Literal",
        "",
        f"__all__ = {['Media', 'Medium', *sets.values()]!r}",
        "",
        "# Media may be a local file; the client sends its content.",
        "Medium = str | Path",
        "Media = list[str] | list[Path] | list[str | Path]",
        "",
        *(f"{name} = {text}" for text, name in sets.items()),
    ]
    return "\n".join(lines)


def _lookups_module(bundle: Bundle) -> str:
    operations = {
        slug: entry["taskType"]
        for slug, entry in bundle.files["operations"].items()
        if not slug.endswith("-inference")
    }
    tables = {
        "architecture_task_types": bundle.registry["architectureTaskTypes"],
        "modality_task_types": bundle.registry["modalityTaskTypes"],
        "operation_task_types": operations,
    }
    task_types = sorted({entry["taskType"] for entry in bundle.files["models"].values()})
    lines = [
        HEADER.format("Lookup tables: which task type a slug stands for, and the curated models by AIR."),
        "from typing import Literal",
        "",
        "from runware_jobs.client.services.registry import ModelEntry, bundled_registry",
        "",
        f"__all__ = {[*tables, 'TaskType', 'models', 'ModelEntry', 'SCHEMAS_VERSION']!r}",
        "",
        f"SCHEMAS_VERSION = {bundle.registry['version']!r}",
        "",
        f"TaskType = Literal[{', '.join(map(repr, task_types))}]",
        "",
        *(f"{name}: dict[str, TaskType] = {dict(sorted(table.items()))!r}" for name, table in tables.items()),
        "",
        "models: dict[str, ModelEntry] = dict(bundled_registry().models)",
        "",
    ]
    return "\n".join(lines)


def _package_module(modules: list[str]) -> str:
    lines = [
        HEADER.format(
            "TypedDicts of the params and results of every curated model, architecture, operation and utility."
        ),
        "# ruff: noqa: F403 - each module says in `__all__` what it gives",
        *(f"from .{name} import *" for name in modules),
        "",
    ]
    return "\n".join(lines)


def _tidy(files: list[Path]) -> None:
    """Bring the files into the form of the house; ruff sorts and wraps as it does for what people write."""
    ruff = [sys.executable, "-m", "ruff"]
    config = ["--config", str(ROOT / "pyproject.toml"), "--quiet"]
    for command in (["check", "--select", "I,RUF022,RUF023", "--fix", *config], ["format", *config]):
        subprocess.run([*ruff, *command, *map(str, files)], check=True)  # noqa: S603 - our own tool, our own files


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:2]))
