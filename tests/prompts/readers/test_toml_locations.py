"""Test the locations of TOML."""

from __future__ import annotations

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.prompts.readers.toml_locations import find_unclosed, toml_offsets

names = st.text("abcXYZ019-_", min_size=1, max_size=5)
scalars = st.one_of(
    st.integers(-(10**9), 10**9),
    st.booleans(),
    st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=8),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


def written(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {written(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[\n  " + ", # ] and }\n  ".join(map(written, value)) + "\n]"
    return json.dumps(value)


def paths(value, path=()):
    yield path
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, item in items:
            yield from paths(item, (*path, name))


@given(st.dictionaries(names, values, max_size=4))
def test_every_field_has_the_offset_of_its_name(document):
    text = "".join(f"{name} = {written(value)}\n" for name, value in document.items())
    assert tomllib.loads(text) == document
    offsets = toml_offsets(text)
    assert offsets.keys() == set(paths(document)) - {()}
    for path, offset in offsets.items():
        if isinstance(path[-1], str):
            assert text[offset:].startswith(path[-1])


@given(st.lists(st.dictionaries(names, scalars, max_size=3), max_size=4))
def test_tables_of_a_list_have_the_offsets_of_their_headers(tables):
    text = "".join(
        "[[requests]]\n" + "".join(f"{name} = {written(value)}\n" for name, value in table.items())
        for table in tables
    )
    offsets = toml_offsets(text)
    assert tomllib.loads(text).get("requests", []) == tables
    starts = [offsets["requests", i] for i in range(len(tables))]
    assert starts == sorted(starts)
    assert all(text.startswith("[[", start) for start in starts)


@given(st.text(st.sampled_from("[]{}=.,#ab1 \n\"'"), max_size=30))
def test_any_text_is_scanned_to_its_end(text):
    offset = find_unclosed(text)
    assert offset is None or text[offset] in "[{\"'"


@pytest.mark.parametrize(
    ("text", "offset"),
    [("a = 1", None), ("a = [1,", 4), ("a = 1\nb = {c = [", 15), ('a = """\n"', 4)],
)
def test_the_unclosed_bracket_is_found(text, offset):
    assert find_unclosed(text) == offset
