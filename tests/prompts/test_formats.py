"""Test what all formats of prompt files have in common."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdcli.errors import UsageError
from sdcli.prompts.formats import format_of
from sdcli.request import GenerationRequest
from tests.prompts.prompt_files import (
    FORMATS,
    WRITERS,
    entries_of,
    lines_of,
    lines_of_bytes,
    multiline_rows,
    read_lines,
    read_text,
    rows,
)

EXAMPLES = sorted(p for p in (Path(__file__).parents[2] / "prompts").iterdir() if p.is_file())
MULTILINE = [name for name in FORMATS if name != "txt"]


@pytest.mark.parametrize("name", FORMATS)
@given(rows=st.lists(rows, max_size=4))
@settings(max_examples=60)
def test_written_requests_are_read_back(name, rows):
    if name == "toml" and not rows:
        return  # an empty document is a request without a prompt
    requests, errors = read_text(name, WRITERS[name](rows))
    assert errors == []
    assert requests == [GenerationRequest.from_dict(row) for row in rows]


@pytest.mark.parametrize("name", MULTILINE)
@given(rows=st.lists(multiline_rows, min_size=1, max_size=3))
@settings(max_examples=40)
def test_written_fields_are_read_back_with_their_line_breaks(name, rows):
    entries, errors = entries_of(name, lines_of(WRITERS[name](rows)))
    assert errors == []
    read = [dict(entry.fields) for entry in entries]
    if entries[0].is_text:
        rows = [{field: str(value) for field, value in row.items()} for row in rows]
    assert read == rows


@pytest.mark.parametrize("name", FORMATS)
@given(rows=st.lists(rows, min_size=1, max_size=4), data=st.data())
@settings(max_examples=40)
def test_an_invalid_value_is_located_at_its_name_or_cell(name, rows, data):
    row = data.draw(st.sampled_from(rows))
    row["eta"] = 2
    text = WRITERS[name](rows)
    errors = read_text(name, text)[1]
    assert len(errors) == sum(row.get("eta") == 2 for row in rows)
    for error in errors:
        found = re.match(rf"f\.{name}:(\d+):(\d+): eta: ", error)
        assert found
        rest = text.split("\n")[int(found[1]) - 1][int(found[2]) - 1 :]
        assert re.match({"csv": "2", "tsv": "2"}.get(name, r'(--|")?eta\b'), rest)


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
@settings(max_examples=60)
def test_damaged_files_raise_only_usage_errors(name, data):
    noise = data.draw(st.text(max_size=60))
    whole = WRITERS[name](data.draw(st.lists(rows, min_size=1, max_size=2)))
    cut = data.draw(st.integers(0, len(whole)))
    for damaged in (noise, whole[:cut] + noise + whole[cut:], whole[:cut]):
        for error in read_text(name, damaged)[1]:
            assert error.startswith(f"f.{name}")


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.binary(max_size=40))
@settings(max_examples=30)
def test_any_bytes_raise_only_usage_errors(name, data):
    read_lines(name, lines_of_bytes(data))


@pytest.mark.parametrize("name", FORMATS)
def test_bytes_that_are_not_utf_8_have_a_location(name):
    data = WRITERS[name]([{"prompt": "abc"}]).encode()
    [error] = read_lines(name, lines_of_bytes(data.replace(b"b", b"\xff")))[1]
    assert re.fullmatch(rf"f\.{name}:\d+:\d+: not UTF-8 \(byte 0xff\)", error)


@pytest.mark.parametrize("name", FORMATS)
def test_a_byte_order_mark_is_ignored(name):
    data = b"\xef\xbb\xbf" + WRITERS[name]([{"prompt": "a cat"}]).encode()
    assert read_lines(name, lines_of_bytes(data)) == ([GenerationRequest(prompt="a cat")], [])


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_example_files_are_valid(path):
    requests, errors = read_text(format_of(path.name), path.read_text("utf-8"))
    assert errors == []
    assert len(requests) >= 2


@pytest.mark.parametrize(
    ("file", "name"),
    [("a.b/c.JSONL", "jsonl"), ("x.yml", "yaml"), ("x.ndjson", "jsonl"), ("x.text", "txt")],
)
def test_an_extension_tells_the_format(file, name):
    assert format_of(file) == name


@pytest.mark.parametrize("file", ["prompts", ".txt", "a.foo", "a."])
def test_other_extensions_need_an_option(file):
    with pytest.raises(UsageError, match="unknown prompt file format") as caught:
        format_of(file)
    assert caught.value.hint.startswith("use --input-format")
