"""Test the reader of JSON documents."""

from __future__ import annotations

import pytest

from tests.prompts.prompt_files import assert_errors


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ('[\n 1,\n {"prompt": "b"}, null\n]', ["f.json:2:2: not a", "f.json:3:19: not a"]),
        (
            '[{"a": 1},\n {"prompt": "b",\n "prompt": 1}]',
            ["f.json:3:2: invalid JSON: duplicate key 'pro"],
        ),
        ('["a",\n -Infinity]', ["f.json:2:2: invalid JSON: -Infinity is not a valid number"]),
        ("[" * 100_000, ["f.json:1:1: invalid JSON: nested too deeply"]),
        ('["a",\n {"prompt": "b",\n  "seed": -2}]', ["f.json:3:3: seed: -2"]),
        ('{"requests": [{"seed": 1,\n "prompt": 5}]}', ["f.json:2:2: prompt: 5 is not text"]),
        ('["a"', ["f.json:2:1: invalid JSON"]),
    ],
)
def test_errors_have_locations(text, errors):
    assert_errors("json", text, errors)
