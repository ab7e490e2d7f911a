"""Which result classes there are: the canonical one of each task type, and the few other shapes.

Most curated models answer with the canonical result of their task type, so their Result is another name
of it. Models that answer in another way share one class per shape, named after what tells it apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scripts.type_text import RESULT_WORDING, ClassText, fields_of

if TYPE_CHECKING:
    from scripts.schema_facts import Schema

# Forms of the same media, which tell no shape apart.
_FORMS = ("Base64Data", "DataURI")


@dataclass(frozen=True, slots=True)
class ResultShapes:
    """`canonical` by task type, `models` by AIR: entries of the bundle."""

    canonical: dict[str, Schema]
    models: dict[str, Schema]

    def title(self, task_type: str) -> str | None:
        """Give the stem of the canonical result's name; None for a task type without one."""
        entry = self.canonical.get(task_type)
        return None if entry is None else entry["title"]

    def classes(self, task_type: str) -> list[ClassText]:
        """Give the canonical class (and the variants it is made of), then one class per other shape."""
        classes = [
            _class(name, f"Result of `{task_type}`.", schema)
            for name, schema in self._variants(task_type).items()
        ]
        for name, airs in self.groups(task_type).items():
            purpose = f"Result of `{task_type}` by {', '.join(f'`{air}`' for air in airs)}."
            classes.append(_class(name, purpose, self.models[airs[0]]["responseSchema"]))
        return classes

    def groups(self, task_type: str) -> dict[str, list[str]]:
        """Give the AIRs of the models with another shape than the canonical, by the name of their class."""
        groups: dict[str, list[str]] = {}
        for air, entry in self.models.items():
            if entry["taskType"] == task_type and self._name(entry) != f"{self.title(task_type)}Result":
                groups.setdefault(self._name(entry), []).append(air)
        return groups

    def aliases(self, task_type: str) -> dict[str, str]:
        """Give the Result names that are no class of their own, and what they name."""
        variants = self._variants(task_type)
        union = {f"{self.title(task_type)}Result": " | ".join(variants)} if len(variants) > 1 else {}
        return union | {
            f"{entry['title']}Result": self._name(entry)
            for entry in self.models.values()
            if entry["taskType"] == task_type
        }

    def _variants(self, task_type: str) -> dict[str, Schema]:
        """Give the shapes of the canonical result: one, or one per operation of a utility."""
        title = self.title(task_type)
        if title is None:
            return {}
        schema = self.canonical[task_type]["responseSchema"]
        return {
            f"{title}Result{variant['properties']['operation']['const'].title()}": variant
            for variant in schema.get("anyOf", [])
        } or {f"{title}Result": schema}

    def _name(self, entry: Schema) -> str:
        canonical, own = self.canonical[entry["taskType"]], entry["responseSchema"]
        stem: str = canonical["title"]
        if own == canonical["responseSchema"]:
            return f"{stem}Result"
        known = canonical["responseSchema"]["properties"]
        telling = [name for name in own["properties"] if name not in known and not name.endswith(_FORMS)]
        # Without a field of its own a shape is told by the media that it promises.
        telling = telling or [name.removesuffix("UUID") for name in own["required"] if name != "taskUUID"][1:]
        return f"{stem}{''.join(name[0].upper() + name[1:] for name in telling)}Result"


def _class(name: str, purpose: str, schema: Schema) -> ClassText:
    return ClassText(name, purpose, fields_of(schema, RESULT_WORDING, required=set(schema["required"])))
