"""Each section of the Python SDK's document has an example here, and it does what the section says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

if TYPE_CHECKING:
    from tests.support.emulator_process import EmulatorProcess

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "client"
# What an example must print, as a pattern over all of its output; files that it is given stand in FILES.
PRINTS = {
    "callbacks": r"(?s)\d+%.*(ready: http\S+\n.*){3}3 videos",
    "cancellation": r"Cancelled\nfirst word: \S+",
    "community_models": r"^http\S+\n$",
    "content": r"(?s)image models of Black Forest Labs.*alibaba-z-image-turbo.*\n\d+ 25\n$",
    "delivery": r"^http\S+ \S+",
    "dependencies": r"^http\S+\n$",
    "errors": r"(?s)^mend outputFormat: .*\nTrue Width must be a multiple of 64",
    "files": r"(?s)imageUUID.*\nhttp\S+\n$",
    "javascript_methods": r"(?s)arrived.*http\S+ http\S+ .* 2\n$",
    "log_sink": r"(?s)connection .*auth .*send .*receive ",
    "model_upload": r"^validated.*\n(.*\n)*ready acme:watercolour@1\n$",
    "new_models": r"^http\S+\n$",
    "one_method": r"^http\S+ http\S+ http\S+\n\S+",
    "parallel": r"^3 http\S+ \S+",
    "quick_start": r"^http\S+\n$",
    "slugs": r"^http\S+\nhttp\S+\n$",
    "streaming": r"(?s)\S+.*stop: [1-9]\d* characters, \{.*completionTokens.*\}, 0\.\d+ USD",
    "training": r"(?s)\d+%.*runware:exactly-illustrative@my-trained-style http\S+\n$",
    "transports": r"^websocket http\S+ http\S+\nrest http\S+\n$",
    "typed_params": r"^http\S+\n$",
    "utilities": r"(?s)totalResults.*balance.*imageUUID.*response",
    "validation": r"(?s)outputFormat.*width.*the platform says: ",
}


# Long enough that a client sees them run, in the platform's seconds, which are a hundredth of a second here.
LATENCIES = {"video": 300, "training": 300}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, list[str]]:
    """What two of the examples want to be called with."""
    photo = tmp_path / "photo.jpg"
    Image.new("RGB", (256, 256), "seagreen").save(photo)
    return {"files": [str(photo)], "training": ["https://example.com/dataset.zip"]}


def test_every_example_is_run() -> None:
    assert sorted(PRINTS) == sorted(path.stem for path in EXAMPLES.glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PRINTS))
def test_the_example_does_what_it_says(
    name: str, emulator: EmulatorProcess, files: dict[str, list[str]]
) -> None:
    if name in {"callbacks", "training"}:
        emulator.configure(latencies=LATENCIES)
    environment = {
        "RUNWARE_API_KEY": "a key",
        "RUNWARE_HTTP_BASE_URL": emulator.http_base_url,
        "RUNWARE_WS_BASE_URL": emulator.ws_base_url,
        "RUNWARE_SCHEMAS_BASE_URL": f"{emulator.address}/schemas",
        "RUNWARE_CONTENT_BASE_URL": f"{emulator.address}/content",
        "RUNWARE_SERVERLESS_BASE_URL": f"{emulator.address}/serverless",
    }
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *files.get(name, [])],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(PRINTS[name], done.stdout), done.stdout
