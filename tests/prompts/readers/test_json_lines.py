"""Test the reader of JSON Lines."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from sdcli.prompts.entry_expander import EntryExpander
from sdcli.prompts.expansion import RequestTemplate
from sdcli.prompts.readers.json_lines import read_json_lines
from tests.prompts.prompt_files import assert_errors, read_text


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ('"a"\n{"prompt": "b",}\n', ["f.jsonl:2:16: invalid JSON"]),
        ('{"prompt": "b", "steps": "x"}\n', ["f.jsonl:1:17: num"]),
        (
            '{"prompt": "b", "prompt": "c"}\n',
            ["f.jsonl:1:17: invalid JSON: duplicate key 'prompt'"],
        ),
        (
            '{"prompt": "NaN", "eta": NaN}\n',
            ["f.jsonl:1:26: invalid JSON: NaN is not a valid number"],
        ),
        (f'{{"seed": {"1" * 5000}}}\n', ["f.jsonl:1:10: invalid JSON: number with 5000 digits"]),
        ('"a"\n  {"seed": 1}\n', ["f.jsonl:2:3: no prompt"]),
        (" [1]\n", ["f.jsonl:1:2: not a request"]),
        (
            '{"prompt": "a", "prompts": 1, "s": {"eta": 2}, "eta": 2}\n',
            ["f.jsonl:1:17: unknown", "f.jsonl:1:31: unknown", "f.jsonl:1:48: eta"],
        ),
    ],
)
def test_errors_have_locations(text, errors):
    assert_errors("jsonl", text, errors)


def test_all_errors_of_an_entry_are_reported():
    text = '{"prompt": "a", "foo": 1, "steps": 0, "seed": "x", "size": "9", "bar": 2}'
    assert len(read_text("jsonl", text)[1]) == 5


def test_a_long_file_is_not_held_in_memory():
    line = json.dumps({"prompt": "a cat on a mat", "steps": 4, "seed": 7})
    expander = EntryExpander(RequestTemplate())
    tracemalloc.start()
    count = 0
    for entry in read_json_lines((line for _ in range(10_000)), "f.jsonl"):
        expander.advance(entry)
        count += sum(1 for _ in expander.expand(entry))
        if count == 1000:  # caches are filled: later growth would be the file's
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 10_000
    assert peak - before < 100_000
