"""Test the locations and the strict parser of JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.prompts.readers.json_locations import json_offsets
from sdcli.prompts.readers.json_parser import JsonError, strict_loads

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
indents = st.sampled_from([None, 0, 2])


def paths(value, path=()):
    """All paths of a value, with the text that begins at each one's location."""
    yield path, value
    if isinstance(value, dict):
        for name, item in value.items():
            yield from (
                (p, name if p == (*path, name) else v) for p, v in paths(item, (*path, name))
            )
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from paths(item, (*path, i))


@given(values, indents)
def test_every_value_has_the_offset_of_its_key_or_of_itself(value, indent):
    text = json.dumps(value, indent=indent)
    offsets = json_offsets(text)
    expected = dict(paths(value))
    assert offsets.keys() == expected.keys()
    decoder = json.JSONDecoder()
    for path, start in expected.items():
        assert decoder.raw_decode(text, offsets[path])[0] == start


@given(values, indents)
def test_strict_loads_inverts_dumps(value, indent):
    assert strict_loads(json.dumps(value, indent=indent)) == value


@given(st.text(st.sampled_from('{}[],:"\\ab01-.eNaNInfinity \n'), max_size=30))
def test_strict_loads_raises_only_json_errors_with_an_offset_inside_the_text(text):
    try:
        value, offset = strict_loads(text), 0
    except JsonError as error:
        value, offset = None, error.offset
    assert 0 <= offset <= len(text)
    assert value is None or json.loads(text) == value


@pytest.mark.parametrize(
    ("text", "message", "offset"),
    [
        ('{"a": 1, "b": {"a": 2, "a": 3}}', "duplicate key 'a'", 23),
        ('["NaN", NaN]', "NaN is not a valid number", 8),
        ("[-Infinity]", "-Infinity is not a valid number", 1),
        (f"[1, {'9' * 4301}]", "number with 4301 digits is too large", 4),
        ("[" * 100_000, "nested too deeply", 0),
        ('{"a": }', "a value is missing here", 6),
    ],
)
def test_rejected_json_has_a_location(text, message, offset):
    with pytest.raises(JsonError, match=message) as caught:
        strict_loads(text)
    assert caught.value.offset == offset
