"""What a type checker says of users' code: right programs pass, wrong ones are told what is wrong."""

import subprocess
import sys
from collections import defaultdict

import pytest

HEAD = """\
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, assert_type

from runware_jobs.client import Runware
from runware_jobs.client import types as t


async def main(client: Runware, mapping: Mapping[str, Any], plain: dict[str, object]) -> None:
"""

RIGHT = {
    "the typed example of seed 001": """
    params: t.SdxlArchParams = {
        "model": "civitai:133005@782002",
        "taskType": "imageInference",
        "positivePrompt": "A professional headshot portrait",
        "negativePrompt": "blurry, distorted",
        "width": 1024,
        "height": 1024,
        "steps": 30,
        "scheduler": "DPMSolverMultistep",
    }
    images = await client.run(params)
    assert_type(images, list[t.ImageInferenceResult])
    print(images[0]["imageURL"])
""",
    "a model's params give the model's results": """
    params: t.BflFlux2DevParams = {"model": "runware:400@1", "positivePrompt": "x", "width": 64, "height": 64}
    assert_type(await client.run(params), list[t.BflFlux2DevResult])
""",
    "a model that answers in its own way": """
    params: t.BflFluxVideoUpscaleParams = {"model": "bfl:flux@video-upscale", "inputs": {"video": "x"}}
    results = await client.run(params)
    assert_type(results, list[t.BflFluxVideoUpscaleResult])
    print(results[0]["videoUUID"])
""",
    "an operation": """
    params: t.CaptionImageParams = {"model": "runware:150@2", "inputs": {"image": "x"}}
    assert_type(await client.run(params), list[t.CaptionResult])
""",
    "a utility": """
    params: t.ModelSearchParams = {"search": "portrait", "limit": 10}
    assert_type(await client.run(params), list[t.ModelSearchResult])
""",
    "a modality, for a community model": """
    params: t.VideoInferenceParams = {"model": "own:model@1", "positivePrompt": "x", "width": 64}
    assert_type(await client.run(params), list[t.VideoInferenceResult])
""",
    "a caller's own TypedDict": """
    class Mine(TypedDict):
        taskType: NotRequired[Literal["audioInference"]]
        model: str
        tempo: int

    params: Mine = {"taskType": "audioInference", "model": "own:model@1", "tempo": 120}
    assert_type(await client.run(params), list[t.AudioInferenceResult])
""",
    "plain dicts and mappings give plain dicts": """
    written = await client.run({"model": "google:3@3", "positivePrompt": "x", "width": 64, "height": 64})
    assert_type(written, list[dict[str, Any]])
    assert_type(await client.run(mapping), list[dict[str, Any]])
    assert_type(await client.run(plain), list[dict[str, Any]])
""",
    "legacy parameters and files": """
    params: t.RemoveBackgroundImageParams = {
        "model": "runware:109@1", "inputs": {"image": Path("a.png")}, "rgba": [0, 0, 0, 0], "inputImage": Path("a.png")
    }
    assert_type(await client.run(params), list[t.RemoveBackgroundResult])
""",
    "nested values that were built before": """
    lora: list[dict[str, object]] = [{"model": "civitai:1@1", "weight": 0.8}]
    inputs: dict[str, str] = {"image": "x"}
    params: t.SdxlArchParams = {
        "model": "civitai:1@1", "positivePrompt": "x", "width": 64, "height": 64, "lora": lora, "inputs": inputs
    }
    await client.run(params)
""",
}

WRONG = {
    "a value out of a closed set": (
        """
    params: t.GoogleVeo31FastParams = {"model": "google:3@3", "positivePrompt": "x", "resolution": "8K"}
""",
        "TypedDict item \"resolution\" has type \"Literal['720p', '1080p', '4K']\"",
    ),
    "a scheduler that never was": (
        """
    params: t.SdxlArchParams = {
        "model": "a:b@1", "positivePrompt": "x", "width": 64, "height": 64, "scheduler": "Warp"
    }
""",
        'TypedDict item "scheduler" has type',
    ),
    "a missing key": (
        """
    params: t.SdxlArchParams = {"model": "a:b@1", "positivePrompt": "x", "width": 64}
""",
        'Missing key "height" for TypedDict "SdxlArchParams"',
    ),
    "another model": (
        """
    params: t.BflFlux2DevParams = {"model": "runware:400@2", "positivePrompt": "x", "width": 64, "height": 64}
""",
        'TypedDict item "model" has type "Literal[\'runware:400@1\']"',
    ),
    "a parameter that is none": (
        """
    params: t.CaptionImageParams = {"model": "runware:150@2", "inputs": {"image": "x"}, "stps": 3}
""",
        'Extra key "stps" for TypedDict "CaptionImageParams"',
    ),
    "a slip in the key of a result": (
        """
    params: t.SdxlArchParams = {"model": "a:b@1", "positivePrompt": "x", "width": 64, "height": 64}
    print((await client.run(params))[0]["imagURL"])
""",
        'TypedDict "ImageInferenceResult" has no key "imagURL"',
    ),
    "a result of another task type": (
        """
    params: t.VideoInferenceParams = {"model": "own:model@1"}
    print((await client.run(params))[0]["imageURL"])
""",
        'TypedDict "VideoInferenceResult" has no key "imageURL"',
    ),
    "a details call without the task": (
        """
    params: t.GetTaskDetailsParams = {}
""",
        'Missing key "taskUUID" for TypedDict "GetTaskDetailsParams"',
    ),
}

CASES = RIGHT | {label: code for label, (code, _) in WRONG.items()}


@pytest.mark.slow
def test_right_code_passes_and_wrong_code_is_told_what_is_wrong(tmp_path):
    errors = check_types(CASES, tmp_path)

    assert {label: errors[label] for label in RIGHT if errors[label]} == {}
    for label, (_, expected) in WRONG.items():
        assert len(errors[label]) == 1, (label, errors[label])
        assert expected in errors[label][0]


def check_types(cases, folder):
    """Give the errors of the type checker by label; all cases in one run, which costs most of the time."""
    labels = {f"case_{number}": label for number, label in enumerate(cases)}
    for name, label in labels.items():
        (folder / f"{name}.py").write_text(HEAD + cases[label].lstrip("\n"))
    options = ["--strict", "--config-file=", "--follow-imports=silent", "--no-error-summary"]
    answer = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            *options,
            f"--cache-dir={folder / 'cache'}",
            *sorted(folder.glob("*.py")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stderr == ""
    errors = defaultdict(list)
    for line in answer.stdout.splitlines():
        place, _, said = line.partition(": error: ")
        if said:
            errors[labels[place.rpartition("/")[2].partition(".")[0]]].append(said)
    return errors
