"""Test the structure of documents: a list, one request, or requests with defaults."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from sdcli.prompts.readers.documents import DEFAULTS, REQUESTS
from sdcli.request import GenerationRequest
from tests.prompts.prompt_files import entries_of, lines_of, read_text, rows


@given(rows)
def test_a_request_alone_equals_a_list_of_one(row):
    alone, listed = (read_text("json", json.dumps(value)) for value in (row, [row]))
    assert alone == listed == ([GenerationRequest.from_dict(row)], [])


@given(rows, rows)
def test_defaults_at_the_top_equal_those_in_a_table(row, defaults):
    del defaults["prompt"]
    inside = {DEFAULTS: defaults, REQUESTS: [row]}
    top = {**defaults, REQUESTS: [row]}
    assert read_text("json", json.dumps(inside)) == read_text("json", json.dumps(top))


def test_text_is_a_prompt_and_extension_names_are_ignored():
    text = json.dumps({"x-remark": 5, "X-other": [], REQUESTS: ["a", {"prompt": "b"}]})
    requests, errors = read_text("json", text)
    assert errors == []
    assert [request.prompt for request in requests] == ["a", "b"]


@pytest.mark.parametrize("value", [None, 3, True, [[]], [3]])
def test_other_values_are_not_requests(value):
    _, errors = entries_of("json", lines_of(json.dumps(value)))
    assert [str(error).partition(": ")[2] for error in errors] == ["not a request"]


def test_requests_must_be_a_list_and_hold_the_prompts():
    assert [e.split(": ")[1] for e in read_text("json", '{"requests": {}}')[1]] == [
        "'requests' is not a list"
    ]
    assert [e.split(": ")[1] for e in read_text("json", '{"prompt": "a", "requests": []}')[1]] == [
        "'prompt' must be inside 'requests'"
    ]
