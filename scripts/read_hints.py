"""Read the published type hints of the platform's Python SDK and write the schema bundle.

    python -m scripts.read_hints [FOLDER]

FOLDER is `runware_jobs/schemas` when left out. Read are facts (names, types, closed sets, which are
required); no sentence carries over, and the code is parsed, never run. `legacy.json` and `registry.json`
of the bundle are not made here.
"""

from __future__ import annotations

import ast
import copy
import json
import re
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from scripts.schema_facts import REQUEST_FACTS, RESPONSE_FACTS, Schema, add_facts, widen_result

BUNDLE = Path(__file__).parent.parent / "runware_jobs" / "schemas"

_SCALARS: dict[str, Schema] = {
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "str": {"type": "string"},
    "bool": {"type": "boolean"},
    "object": {},
}
# What a hint's own line says of itself: which file of the bundle it belongs to, and under which key.
_PLACES = (
    ("models", re.compile(r"Inference (?:params|result) for curated model `(?P<key>[^`]+)`")),
    ("architectures", re.compile(r"Inference params for architecture `(?P<key>[^`]+)`")),
    ("operations", re.compile(r"Loose params for the `(?P<modality>[^`]+)` modality")),
    ("operations", re.compile(r"Params for the `(?P<key>[^`]+)` operation")),
    ("utilities", re.compile(r"(?:Params|Result) for the `(?P<key>[^`]+)` utility task")),
    ("results", re.compile(r"Canonical result shape for `(?P<key>[^`]+)` tasks")),
)


@dataclass(slots=True)
class Entry:
    """One entry of a bundle file, while it is put together."""

    task_type: str = ""
    title: str = ""
    request: Schema | None = None
    response: Schema | None = None


@dataclass(slots=True)
class Hints:
    """The classes of the hints: their schemas by class name, and where in the bundle each belongs."""

    version: str = ""
    schemas: dict[str, Schema] = field(default_factory=dict)
    unions: dict[str, list[str]] = field(default_factory=dict)
    places: dict[str, tuple[str, str]] = field(default_factory=dict)


def main(folder: Path = BUNDLE) -> None:
    """Write models, architectures, operations, utilities and results into `folder`."""
    hints = read_hints(hints_path().read_text())
    for name, entries in build_bundle(hints).items():
        document = {
            "version": hints.version,
            "schemas": {
                key: {
                    "taskType": entry.task_type,
                    "title": entry.title,
                    "requestSchema": entry.request,
                    "responseSchema": entry.response,
                }
                for key, entry in sorted(entries.items())
            },
        }
        (folder / f"{name}.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def hints_path() -> Path:
    """Give the file of hints of the installed `runware-sdk`."""
    spec = find_spec("runware")
    if spec is None or spec.origin is None:
        raise SystemExit("runware-sdk is not installed; it is a development dependency: make install")
    return Path(spec.origin).parent / "types" / "task_map.py"


def read_hints(source: str) -> Hints:
    """Take classes, unions of classes and the registry's tables out of the source of the hints."""
    hints = Hints()
    for node in ast.parse(source).body:
        match node:
            case ast.ClassDef(name=name, bases=[ast.Name("TypedDict"), *_]):
                hints.schemas[name] = _schema_of_class(node)
                place = _place(ast.get_docstring(node) or "")
                if place is not None:
                    hints.places[name] = place
            case ast.Assign(targets=[ast.Name("SCHEMAS_VERSION")], value=ast.Constant(str() as version)):
                hints.version = version
            case ast.Assign(targets=[ast.Name(name)], value=ast.BinOp() as union):
                hints.unions[name] = [member.id for member in _members(union) if isinstance(member, ast.Name)]
    return hints


def _place(line: str) -> tuple[str, str] | None:
    for file, pattern in _PLACES:
        if found := pattern.match(line):
            named = found.groupdict()
            return file, named.get("key") or _kebab(named["modality"])
    return None


def _kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", r"-\1", name).lower()


# ---- one class ------------------------------------------------------------------------------------


def _schema_of_class(node: ast.ClassDef) -> Schema:
    properties: Schema = {}
    required: list[str] = []
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            hint, is_required = _unwrapped(line.annotation)
            properties[line.target.id] = _schema_of_hint(hint)
            if is_required:
                required.append(line.target.id)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _unwrapped(hint: ast.expr) -> tuple[ast.expr, bool]:
    match hint:
        case ast.Subscript(value=ast.Name("NotRequired"), slice=inner):
            return inner, False
    return hint, True


def _schema_of_hint(hint: ast.expr) -> Schema:
    match hint:
        case ast.Name(name) if name in _SCALARS:
            return dict(_SCALARS[name])
        case ast.Subscript(value=ast.Name("dict")):
            return {"type": "object"}
        case ast.Subscript(value=ast.Name("list"), slice=item):
            return {"type": "array", "items": _schema_of_hint(item)}
        case ast.Subscript(value=ast.Name("Literal"), slice=values):
            return _closed_set(values)
        case ast.BinOp():
            return {"anyOf": [_schema_of_hint(member) for member in _members(hint)]}
    raise ValueError(f"no rule for the hint {ast.unparse(hint)}")


def _closed_set(values: ast.expr) -> Schema:
    literal = ast.literal_eval(values)
    if not isinstance(literal, tuple):
        return {"const": literal}
    return {"enum": list(literal)}


def _members(union: ast.expr) -> list[ast.expr]:
    if isinstance(union, ast.BinOp) and isinstance(union.op, ast.BitOr):
        return [*_members(union.left), *_members(union.right)]
    return [union]


# ---- the bundle -----------------------------------------------------------------------------------


def build_bundle(hints: Hints) -> dict[str, dict[str, Entry]]:
    """Sort the schemas into the files of the bundle and add what is known beyond the hints."""
    bundle: dict[str, dict[str, Entry]] = {
        name: {} for name in ("models", "architectures", "operations", "utilities", "results")
    }
    for name, (file, key) in hints.places.items():
        _put(bundle[file], key, name, hints.schemas[name])
    for name, members in hints.unions.items():
        _put_union(bundle, hints, name, members)
    _fill_responses(bundle)
    for file, entries in bundle.items():
        for entry in entries.values():
            _complete(entry, is_base=file == "operations")
    return bundle


def _put(entries: dict[str, Entry], key: str, class_name: str, schema: Schema) -> None:
    stem, kind = _stem(class_name)
    entry = entries.setdefault(key, Entry(title=stem))
    if kind == "Params":
        entry.request = schema
    else:
        entry.response = schema
    entry.task_type = _task_type(schema) or entry.task_type or key


def _stem(class_name: str) -> tuple[str, str]:
    """Split a class name; a trailing 2 only tells a canonical result from its utility's twin."""
    found = re.fullmatch(r"(?P<stem>.+?)(?P<kind>Params|Result)2?", class_name)
    if found is None:
        raise ValueError(f"neither Params nor Result: {class_name}")
    return found["stem"], found["kind"]


def _task_type(schema: Schema) -> str | None:
    for shape in (schema, *schema.get("anyOf", ())):
        value = shape.get("properties", {}).get("taskType", {}).get("const")
        if isinstance(value, str):
            return value
    return None


def _put_union(bundle: dict[str, dict[str, Entry]], hints: Hints, name: str, member_names: list[str]) -> None:
    """Place a union of classes; unlike a class it carries no line of its own, its name tells where it belongs."""
    stem, kind = _stem(name)
    members = [hints.schemas[member] for member in member_names]
    if kind == "Result":
        shapes = [{key: value for key, value in member.items() if key != "$schema"} for member in members]
        schema: Schema = {"$schema": members[0]["$schema"], "type": "object", "anyOf": shapes}
        place = ("results", str(_task_type(schema))) if name.endswith("2") else ("utilities", _kebab(stem))
    else:
        place = hints.places[f"{stem}Result"]
        schema = _schema_without_names(bundle, hints, key=place[1], result_name=f"{stem}Result")
    _put(bundle[place[0]], place[1], name, schema)


def _schema_without_names(
    bundle: dict[str, dict[str, Entry]], hints: Hints, *, key: str, result_name: str
) -> Schema:
    """Describe a model whose parameters the hints leave open: those of its modality, and any other."""
    task_type = str(_task_type(hints.schemas[result_name]))
    base = bundle["operations"][_kebab(task_type)].request
    if base is None:
        raise ValueError(f"the hints have no modality {task_type}")
    known: Schema = copy.deepcopy(base)
    known["properties"]["model"] = {"const": key}
    known["additionalProperties"] = True
    return known


def _fill_responses(bundle: dict[str, dict[str, Entry]]) -> None:
    """An architecture and an operation answer with the canonical result of their task type."""
    for task_type, result in bundle["results"].items():
        if result.response is not None and "properties" in result.response:
            widen_result(result.response, task_type)
    for file in ("architectures", "operations"):
        for entry in bundle[file].values():
            entry.response = copy.deepcopy(bundle["results"][entry.task_type].response)


def _complete(entry: Entry, *, is_base: bool) -> None:
    if entry.request is not None:
        add_facts(entry.request, entry.task_type, REQUEST_FACTS)
        if is_base:
            # A base that models extend: what it does not name is the model's own.
            entry.request["additionalProperties"] = True
    if entry.response is not None:
        for shape in entry.response.get("anyOf", [entry.response]):
            add_facts(shape, entry.task_type, RESPONSE_FACTS)
            # A newer platform may say more; an answer is never refused for that.
            shape["additionalProperties"] = True


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:2]))
