"""The schema bundle: complete, valid, made from its sources, and no wider than they are."""

import json
from collections import defaultdict
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from scripts import read_hints
from scripts.schema_facts import REQUEST_FACTS, RESPONSE_FACTS

GENERATED = ("models", "architectures", "operations", "utilities", "results")

# What the three documents of older SDKs let a caller send, by task type.
SEED_PARAMETERS = {
    "imageInference": "positivePrompt negativePrompt width height model numberResults outputType outputFormat "
    "uploadEndpoint checkNSFW seedImage maskImage strength steps scheduler seed CFGScale clipSkip refiner "
    "usePromptWeighting promptWeighting controlNet lora ipAdapters providerSettings embeddings outpaint includeCost "
    "outputQuality maskMargin referenceImages acceleratorOptions layerDiffuse deliveryMethod returnBase64Image",
    "caption": "inputImage includeCost model inputs",
    "removeBackground": "inputImage outputType outputFormat rgba postProcessMask returnOnlyMask alphaMatting "
    "alphaMattingForegroundThreshold alphaMattingBackgroundThreshold alphaMattingErodeSize includeCost outputQuality",
    "upscale": "inputImage upscaleFactor outputType outputFormat includeCost outputQuality model inputs",
    "promptEnhance": "prompt promptMaxLength promptVersions includeCost",
    "controlNetPreprocess": "inputImage preProcessorType height width outputType outputFormat highThresholdCanny "
    "lowThresholdCanny includeHandsAndFaceOpenPose includeCost outputQuality",
    "imageControlNetPreProcess": "inputImage preProcessorType height width outputType outputFormat "
    "highThresholdCanny lowThresholdCanny includeHandsAndFaceOpenPose includeCost outputQuality",
    "audioInference": "duration outputFormat numberResults includeCost audioSettings outputType model positivePrompt "
    "deliveryMethod speech",
    "videoInference": "model positivePrompt width height duration numberResults speech referenceVideos inputs "
    "outputType",
    "modelUpload": "air name downloadURL uniqueIdentifier version format architecture heroImageURL tags "
    "shortDescription comment private category conditioning positiveTriggerWords defaultCFGScale defaultStrength "
    "defaultSteps defaultScheduler type defaultWeight",
    "photoMaker": "positivePrompt negativePrompt height width numberResults steps inputImages style strength "
    "outputFormat includeCost outputQuality",
    "modelSearch": "search tags category architecture limit offset owned featured type conditioning private",
    "imageMasking": "model inputImage confidence maskPadding maskBlur outputFormat outputType includeCost "
    "uploadEndpoint maxDetections outputQuality",
    "textInference": "model messages deliveryMethod numberResults",
}

RANGES = [
    ("operations", "image-inference", "outputQuality", [20, 99], [19, 100]),
    ("operations", "image-inference", "ttl", [60], [59]),
    ("architectures", "sdxl", "seed", [2**53 - 1], [2**53]),
    ("architectures", "sdxl", "positivePrompt", ["a", "a" * 10_000], ["", "a" * 10_001]),
    ("operations", "prompt-enhance", "promptVersions", [1, 5], [0, 6]),
    ("operations", "prompt-enhance", "promptMaxLength", [1, 380], [0, 381]),
    ("operations", "text-inference", "deliveryMethod", ["sync", "async", "stream"], ["later"]),
    ("operations", "image-inference", "deliveryMethod", ["sync", "async"], ["stream"]),
    ("utilities", "model-upload", "defaultSteps", [1, 100], [0, 101]),
    ("utilities", "model-upload", "defaultCFG", [0, 30], [-0.1, 30.1]),
    ("utilities", "model-upload", "defaultStrength", [0, 1], [-0.1, 1.1]),
    ("utilities", "model-upload", "defaultWeight", [-4, 4], [-4.1, 4.1]),
    ("utilities", "model-upload", "tags", [["a" * 400] * 100], [["a"] * 101, ["a" * 401]]),
    ("utilities", "model-upload", "shortDescription", ["ab", "a" * 40_000], ["a", "a" * 40_001]),
    ("utilities", "model-upload", "comment", ["ab", "a" * 1_000], ["a", "a" * 1_001]),
    ("utilities", "model-upload", "positiveTriggerWords", ["a", ["a", "b"]], [1]),
    ("utilities", "media-storage", "operation", ["upload", "delete"], ["move"]),
    (
        "models",
        "exactly:illustrative@training",
        "importModel",
        [{"air": "a:b@1", "name": "n"}],
        [{"name": "n"}],
    ),
    ("models", "runware:504@1", "inputs", [{"image": "x"}, {"video": "x"}], [{}]),
    ("models", "runware:150@2", "model", ["runware:150@2"], ["runware:150@1"]),
]


def read(name):
    return json.loads((read_hints.BUNDLE / f"{name}.json").read_bytes())


def entries():
    return {(name, key): entry for name in GENERATED for key, entry in read(name)["schemas"].items()}


@pytest.fixture(scope="module")
def todays_properties():
    """The schemas of each parameter that today's request schemas know, by task type."""
    known = defaultdict(lambda: defaultdict(list))
    for entry in entries().values():
        for name, schema in (entry["requestSchema"] or {"properties": {}})["properties"].items():
            known[entry["taskType"]][name].append(schema)
    return known


def test_reading_the_published_hints_again_changes_nothing(tmp_path: Path):
    read_hints.main(tmp_path)

    for name in GENERATED:
        assert (tmp_path / f"{name}.json").read_text() == (read_hints.BUNDLE / f"{name}.json").read_text()


def test_a_hint_without_a_rule_is_an_error_and_not_a_guess():
    with pytest.raises(ValueError, match=r"no rule for the hint set\[str\]"):
        read_hints.read_hints("class AParams(TypedDict):\n    names: set[str]\n")


def test_every_curated_model_has_a_schema_of_its_task_type():
    registry, models = read("registry"), read("models")

    assert {air: entry["taskType"] for air, entry in registry["models"].items()} == {
        air: entry["taskType"] for air, entry in models["schemas"].items()
    }
    assert all(entry["requestSchema"] and entry["responseSchema"] for entry in models["schemas"].values())


def test_every_architecture_and_modality_has_a_schema_of_its_task_type():
    registry = read("registry")
    bases = {entry["taskType"] for key, entry in read("operations")["schemas"].items() if "-inference" in key}

    assert registry["architectureTaskTypes"] == {
        slug: entry["taskType"] for slug, entry in read("architectures")["schemas"].items()
    }
    assert set(registry["modalityTaskTypes"].values()) == bases


def test_all_files_tell_the_release_of_the_registry():
    assert {read(name)["version"] for name in GENERATED} == {read("registry")["version"]}


def test_every_schema_is_valid_and_stands_alone():
    schemas = [entry[kind] for entry in entries().values() for kind in ("requestSchema", "responseSchema")]
    texts = {json.dumps(schema) for schema in schemas if schema is not None}

    for text in texts:
        Draft202012Validator.check_schema(json.loads(text))
    assert not [text for text in texts if "$ref" in text]


def test_requests_are_closed_and_answers_are_open():
    for (name, key), entry in entries().items():
        request, response = entry["requestSchema"], entry["responseSchema"]
        if request is not None and key != "vidu:4@2":
            assert request["additionalProperties"] is (name == "operations")
        for shape in response.get("anyOf", [response]):
            assert shape["additionalProperties"] is True


def test_every_known_fact_stands_in_some_schema():
    facts = [("requestSchema", fact) for fact in REQUEST_FACTS]
    facts += [("responseSchema", fact) for fact in RESPONSE_FACTS]
    schemas = [
        (kind, entry["taskType"], name, schema)
        for entry in entries().values()
        for kind in ("requestSchema", "responseSchema")
        for name, schema in (entry[kind] or {}).get("properties", {}).items()
    ]

    unused = [
        fact
        for kind, fact in facts
        if not any(
            (kind, fact.parameter) == (of, name)
            and (not fact.task_types or task_type in fact.task_types)
            and fact.says.items() <= schema.items()
            for of, task_type, name, schema in schemas
        )
    ]
    assert unused == []


@pytest.mark.parametrize(
    ("file", "key", "parameter", "right", "wrong"),
    RANGES,
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_ranges_hold_at_their_ends(file, key, parameter, right, wrong):
    schema = read(file)["schemas"][key]["requestSchema"]["properties"][parameter]

    assert [value for value in right if not Draft202012Validator(schema).is_valid(value)] == []
    assert [value for value in wrong if Draft202012Validator(schema).is_valid(value)] == []


def test_legacy_holds_nothing_that_todays_schemas_know(todays_properties):
    known_already = [
        (task_type, name)
        for task_type, legacy in read("legacy").items()
        for name in legacy["properties"]
        if name in todays_properties[task_type]
    ]
    values_known_already = [
        (task_type, name, value)
        for task_type, legacy in read("legacy").items()
        for name, values in legacy.get("values", {}).items()
        for value in values
        for schema in todays_properties[task_type][name]
        if value in schema.get("enum", [])
    ]

    assert (known_already, values_known_already) == ([], [])


def test_legacy_lifts_only_what_todays_schemas_require():
    required = defaultdict(set)
    for entry in entries().values():
        required[entry["taskType"]].update((entry["requestSchema"] or {"required": []})["required"])

    for task_type, legacy in read("legacy").items():
        assert set(legacy.get("optional", [])) <= required[task_type]


def test_every_legacy_parameter_is_marked_and_tells_its_source():
    for legacy in read("legacy").values():
        for schema in legacy["properties"].values():
            Draft202012Validator.check_schema(schema)
            assert schema["deprecated"] is True
            assert schema["$comment"]


@pytest.mark.parametrize("task_type", SEED_PARAMETERS)
def test_every_parameter_of_the_older_sdks_is_known(task_type, todays_properties):
    legacy = read("legacy").get(task_type, {"properties": {}})

    unknown = (
        set(SEED_PARAMETERS[task_type].split())
        - set(todays_properties[task_type])
        - set(legacy["properties"])
    )
    assert unknown == set()
