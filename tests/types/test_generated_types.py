"""The generated types: made from the bundle, with the names and keys that the platform publishes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from runware_jobs.client import bundled_registry, types
from scripts import generate_types, read_hints

# The client fills in task UUIDs, but for tasks that are asked for by theirs.
ASKED_BY_UUID = {"GetResponseParams", "GetTaskDetailsParams"}
# Wider than published, see runware_jobs/schemas/README.md
WIDER_RESULTS = {"UpscaleResult", "RemoveBackgroundResult"}


def published():
    """The published classes by name, without those that only name a variant or repeat a utility's result."""
    hints = read_hints.read_hints(read_hints.hints_path().read_text())
    return {
        name: schema
        for name, schema in hints.schemas.items()
        if name in hints.places and not name.endswith("2")
    }


def test_generating_again_changes_nothing(tmp_path: Path):
    generate_types.main(tmp_path)

    for folder, pattern in ((".", "typed_run.py"), ("types", "*.py")):
        made = {path.name: path.read_text() for path in (tmp_path / folder).glob(pattern)}
        assert made == {
            path.name: path.read_text() for path in (generate_types.CLIENT / folder).glob(pattern)
        }


def test_every_published_class_is_there_under_its_name():
    assert [name for name in published() if not hasattr(types, name)] == []


def test_params_have_the_published_keys_and_require_what_the_client_cannot_fill_in():
    for name, schema in published().items():
        if name.endswith("Params"):
            ours = getattr(types, name)
            filled_in = {"taskType"} if name in ASKED_BY_UUID else {"taskType", "taskUUID"}
            assert set(schema["properties"]) <= ours.__required_keys__ | ours.__optional_keys__, name
            assert ours.__required_keys__ == set(schema["required"]) - filled_in, name


def test_results_have_exactly_the_published_keys():
    for name, schema in published().items():
        if name.endswith("Result") and name not in WIDER_RESULTS:
            ours = getattr(types, name)
            assert ours.__required_keys__ | ours.__optional_keys__ == set(schema["properties"]), name
            assert ours.__required_keys__ == set(schema["required"]), name


def test_legacy_parameters_stand_in_the_params_of_their_task_type():
    for legacy, name in (("checkNSFW", "SdxlArchParams"), ("rgba", "RemoveBackgroundImageParams")):
        assert legacy in getattr(types, name).__optional_keys__
    assert types.PhotoMakerParams.__required_keys__ == {"positivePrompt", "inputImages"}


def test_a_base_names_what_its_models_take():
    assert {"positivePrompt", "width", "steps", "lora"} <= types.ImageInferenceParams.__optional_keys__


def test_lookup_tables_equal_the_registry():
    registry = bundled_registry()

    assert types.models == registry.models
    assert types.architecture_task_types == registry.architecture_task_types
    assert types.modality_task_types == registry.modality_task_types
    assert types.operation_task_types == registry.operation_task_types
    assert registry.version == types.SCHEMAS_VERSION


@pytest.mark.parametrize("table", ["architecture_task_types", "modality_task_types", "operation_task_types"])
def test_lookup_tables_equal_the_published_ones(table):
    from runware.types import task_map

    assert getattr(types, table) == getattr(task_map, table)


def test_importing_the_client_does_not_import_the_types():
    code = "import json, sys, runware_jobs.client; print(json.dumps(sorted(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    loaded = json.loads(answer.stdout)
    assert "runware_jobs.client.client" in loaded
    assert "runware_jobs.client.types" not in loaded
