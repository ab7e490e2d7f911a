"""Every parameter that the JavaScript SDK's documents name goes over the wire, and every field comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.client.conftest import HttpAnswer, send
from tests.seeds.calls import CALLS, OF_THE_CHANGELOG
from tests.seeds.conftest import TRANSPORTS
from tests.seeds.inventory import everything

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from websockets.asyncio.server import ServerConnection

    from tests.client.conftest import HttpPlatform, SocketPlatform
    from tests.seeds.conftest import Made

# Options of the client, which must not reach the platform: each has its own test, named in docs/client.md.
OWN = frozenset(
    {"apiKey", "retry", "customTaskUUID", "onPartialImages", "onUploadStream", "images", "error", "response"}
)
# The documents' older spelling of two parameters; the platform takes the newer one.
RENAMED = {"downloadUrl": "downloadURL", "heroImageUrl": "heroImageURL"}
# What only a failed call carries: test_utilities.py and test_errors.py are about those.
ELSEWHERE = frozenset({"code", "parameter", "documentation"})
OF_THE_TASK = frozenset({"taskType", "taskUUID", "status"})

JAVASCRIPT = [named for named in everything() if named.document in {"003", "004"}]


def _section(document: str, section: str) -> str:
    own = f"{document} {section}"
    return own if own in CALLS else section


PARAMETERS = [
    (_section(named.document, named.section), named.name)
    for named in JAVASCRIPT
    if named.kind == "parameter" and _section(named.document, named.section) in CALLS
] + [("Changelog", name) for name in OF_THE_CHANGELOG]
RETURNS = [
    (_section(named.document, named.section), named.name)
    for named in JAVASCRIPT
    if named.kind == "returns" and _section(named.document, named.section) in CALLS
]


@pytest.mark.slow
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("section", "name"), dict.fromkeys(entry for entry in PARAMETERS if entry[1] not in OWN)
)
def test_the_parameter_goes_over_the_wire_unchanged(
    section: str, name: str, transport: str, made: Mapping[tuple[str, str], list[Made]]
) -> None:
    calls = made[transport, section]
    carrying = [one for one in calls if list(_values(one.call.params, name))]

    assert carrying, f"no call of this section uses {name}"
    for one in carrying:
        assert list(_values(one.call.params, name)) == list(_values(one.sent, RENAMED.get(name, name)))


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("section", dict.fromkeys(section for section, _name in RETURNS))
async def test_every_field_comes_back_unchanged(
    section: str,
    transport: str,
    http_platform: HttpPlatform,
    socket_platform: SocketPlatform,
    open_client: Any,
) -> None:
    fields = {name: f"the {name}" for owner, name in RETURNS if owner == section and name not in ELSEWHERE}
    answer = _nested(section, fields)

    def answer_of(task: dict[str, Any]) -> dict[str, Any]:
        own = {"taskType": task["taskType"], "taskUUID": task["taskUUID"]}
        return {**answer, **own, "status": "ready" if task["taskType"] == "modelUpload" else "success"}

    async def answer_frame(connection: ServerConnection, frame: list[dict[str, Any]]) -> None:
        await send(connection, data=[answer_of(task) for task in frame])

    http_platform.script = lambda tasks: HttpAnswer({"data": [answer_of(task) for task in tasks]})
    socket_platform.script = answer_frame
    call = CALLS[section][0]
    params = {**call.params, "numberResults": 1} if "numberResults" in call.params else dict(call.params)
    if "promptVersions" in params:
        params["promptVersions"] = 1
    given = await getattr(open_client(transport=transport), call.method)(params)

    [item] = given if isinstance(given, list) else [given]
    assert set(answer) <= set(item)
    assert [name for name in answer if name not in OF_THE_TASK and item[name] != answer[name]] == []


@pytest.mark.slow
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("section", CALLS)
def test_each_call_sends_one_task_under_both_names(
    section: str, transport: str, made: Mapping[tuple[str, str], list[Made]]
) -> None:
    assert [1] * len(made[transport, section]) == [len(one.sent) for one in made[transport, section]]


def _nested(section: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Put the fields where the document shows them: two answers hold lists of objects."""
    if section == "Model Search":
        outer = {"results", "taskUUID", "taskType", "totalResults"}
        model = {name: value for name, value in fields.items() if name not in outer}
        return {"results": [model], "totalResults": 1}
    if section == "Image Masking":
        corners = {name: fields.pop(name) for name in ("x_min", "y_min", "x_max", "y_max")}
        return {**fields, "detections": [corners]}
    return fields


def _values(content: Any, name: str) -> Iterator[Any]:
    """Find every value under a key, however deep."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key == name:
                yield value
            yield from _values(value, name)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _values(value, name)
