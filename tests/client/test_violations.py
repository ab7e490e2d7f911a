"""Violations in plain sentences: each says what would be right."""

from __future__ import annotations

import jsonschema
import pytest

from runware_jobs.client.services.violations import describe


@pytest.mark.parametrize(
    ("schema", "value", "told"),
    [
        ({"type": "integer"}, "a", '"x" must be of type integer, not string.'),
        ({"type": ["integer", "string"]}, None, '"x" must be of type integer or string, not null.'),
        ({"type": "string"}, True, '"x" must be of type string, not boolean.'),
        ({"type": "string"}, 7, '"x" must be of type string, not integer (7).'),
        ({"type": "string"}, [1], '"x" must be of type string, not array.'),
        ({"enum": ["JPG", "PNG"]}, "GIF", '"x" must be one of "JPG", "PNG", not "GIF".'),
        ({"const": 7}, 8, '"x" must be 7, not 8.'),
        ({"minimum": 64}, 3, '"x" must be at least 64, not 3.'),
        ({"maximum": 64}, 65, '"x" must be at most 64, not 65.'),
        ({"exclusiveMinimum": 0}, 0, '"x" must be above 0, not 0.'),
        ({"exclusiveMaximum": 1}, 1, '"x" must be below 1, not 1.'),
        ({"multipleOf": 16}, 17, '"x" must be a multiple of 16, not 17.'),
        ({"minLength": 2}, "a", '"x" must have at least 2 characters, not 1.'),
        ({"maxLength": 2}, "abc", '"x" must have at most 2 characters, not 3.'),
        ({"minItems": 1}, [], '"x" must have at least 1 entries, not 0.'),
        ({"maxItems": 1}, [1, 2], '"x" must have at most 1 entries, not 2.'),
        ({"pattern": "^a$"}, "secret", '"x" must match the pattern "^a$".'),
        ({"uniqueItems": True}, [1, 1], '"x" breaks the rule uniqueItems: true.'),
        (
            {"anyOf": [{"type": "integer"}, {"type": "array"}]},
            "a",
            '"x" must be of type integer or array, not string.',
        ),
        (
            {"anyOf": [{"required": ["image"]}, {"required": ["video"]}]},
            {},
            '"x" fits none of the allowed forms: "x.image" is required; or "x.video" is required.',
        ),
        (
            {"oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
            {"a": 1, "b": 2},
            '"x" fits several forms that exclude each other: leave out what belongs to one of them.',
        ),
        (
            {"type": "array", "items": {"type": "object", "required": ["role"]}},
            [{"role": "user"}, {}],
            '"x.1.role" is required.',
        ),
    ],
)
def test_message_says_what_is_allowed(schema, value, told):
    entries = describe(
        jsonschema.Draft202012Validator({"properties": {"x": schema}}).iter_errors({"x": value})
    )

    assert [entry["message"] for entry in entries] == [told]


def test_problem_that_two_rules_report_is_told_once():
    schema = {"allOf": [{"required": ["a"]}, {"required": ["a"]}]}

    assert len(describe(jsonschema.Draft202012Validator(schema).iter_errors({}))) == 1
