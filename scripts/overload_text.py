"""The overloads of `run()`: typed params in, the typed list of results out.

An overload asks for no class but for the key `taskType`, so there is one per task type instead of one per
model, the checker stays fast, and a caller's own TypedDict counts as well. Only the few models that answer
in their own way are named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.type_text import HEADER

if TYPE_CHECKING:
    from scripts.result_shapes import ResultShapes

_HEAD = """
# A dict without `taskType` fits several overloads. No TypedDict of ours is without it, and where two fit (a model
# that answers in its own way, and its task type) the first is the right one.
# mypy: disable-error-code="overload-overlap"

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal, NotRequired, TypedDict

    from . import types
    from .config import RunOptions
"""
_CLASS = '''

class TypedRun(ABC):
    """Gives `run()` its types. A plain dict or mapping is taken as well and gives plain dicts."""

    # A dict written in the call is one of these, so that no TypedDict is guessed from its keys.
    @overload
    async def run(self, params: dict[str, Any], options: RunOptions | None = None) -> list[dict[str, Any]]: ...
'''
_TAIL = '''
    @overload
    async def run(self, params: Mapping[str, Any], options: RunOptions | None = None) -> list[dict[str, Any]]: ...

    async def run(self, params: Mapping[str, Any], options: RunOptions | None = None) -> Any:
        """Run one task and give its results in the platform's order.

        Delivery is async unless `params` say otherwise: the task is submitted, then asked for until done.
        A try that may have arrived is repeated under the same task UUID only.

        Errors:
            RunwareError: with `results` holding what had succeeded. `timeout` and `aborted` end the waiting,
                not the task: it goes on and is billed.
        """
        return await self._run(params, options)

    @abstractmethod
    async def _run(self, params: Mapping[str, Any], options: RunOptions | None) -> list[dict[str, Any]]:
        """Do what `run()` promises."""
'''


def typed_run_module(shapes: ResultShapes) -> str:
    """Write the module that gives `run()` its overloads."""
    tags: list[str] = []
    overloads: list[str] = []
    for task_type in sorted(shapes.canonical):
        title = shapes.title(task_type)
        tags.append(_tag(f"_{title}Task", task_type))
        for result, airs in shapes.groups(task_type).items():
            params = " | ".join(f"types.{shapes.models[air]['title']}Params" for air in airs)
            overloads.append(_overload(params, result))
        overloads.append(_overload(f"_{title}Task", f"{title}Result"))
    header = HEADER.format("`TypedRun`: which results `run()` gives for which params, for the type checker.")
    return header + _HEAD + "".join(tags) + _CLASS + "".join(overloads) + _TAIL


def _tag(name: str, task_type: str) -> str:
    return f"\n    class {name}(TypedDict):\n        taskType: NotRequired[Literal[{task_type!r}]]\n"


def _overload(params: str, result: str) -> str:
    return f"""
    @overload
    async def run(self, params: {params}, options: RunOptions | None = None) -> list[types.{result}]: ...
"""
