"""Columns and keys that are no settings, in every format."""

from __future__ import annotations

import math

import pytest

from sdcli.errors import UsageError, UsageErrors
from sdcli.name_template import NameTemplate
from sdcli.prompts.columns import Columns
from sdcli.prompts.entry_expander import EntryExpander
from sdcli.prompts.expansion import RequestTemplate
from sdcli.prompts.formats import get_reader
from tests.prompts.prompt_files import WRITERS, lines_of

ROWS = [
    {"title": "a cat", "sku": "A1", "seed": 1, "colour": "red"},
    {"title": "a dog", "sku": "B2", "seed": 2, "colour": "blue"},
]
KEEP = Columns(extra="keep", prompt_column="Title")
TABLES = [name for name in WRITERS if name != "txt"]


def read(name, text, columns, **template):
    """The requests of a file's text, and its errors."""
    expander, requests, errors = EntryExpander(RequestTemplate(**template)), [], []
    for entry in get_reader(name, columns)(lines_of(text), f"f.{name}"):
        if isinstance(entry, UsageError):
            errors += entry.several if isinstance(entry, UsageErrors) else [entry]
        elif entry:
            errors += (found := expander.validate(entry))
            expander.advance(entry)
            requests += [] if found else expander.expand(entry)
    return requests, [str(error) for error in errors]


@pytest.mark.parametrize("name", TABLES)
def test_extra_columns_are_kept_with_their_places(name):
    requests, errors = read(name, WRITERS[name](ROWS), KEEP)
    assert errors == []
    assert [(r.prompt, r.seed) for r in requests] == [("a cat", 1), ("a dog", 2)]
    assert [r.row.extra for r in requests] == [
        {"sku": "A1", "colour": "red"},
        {"sku": "B2", "colour": "blue"},
    ]
    assert {r.row.file for r in requests} == {f"f.{name}"}
    lines = [r.row.line for r in requests]
    assert 0 < lines[0] < lines[1]


@pytest.mark.parametrize("name", TABLES)
def test_extra_columns_are_ignored(name):
    requests, errors = read(
        name, WRITERS[name](ROWS), Columns(extra="ignore", prompt_column="title")
    )
    assert errors == []
    assert [(r.prompt, r.row.extra) for r in requests] == [("a cat", {}), ("a dog", {})]


@pytest.mark.parametrize("name", TABLES)
def test_extra_columns_are_refused_unless_a_choice_is_made(name):
    requests, errors = read(name, WRITERS[name](ROWS), Columns(prompt_column="title"))
    assert requests == []
    assert all("unknown field" in error for error in errors)
    assert {error.rpartition(" ")[2] for error in errors} == {"'sku'", "'colour'"}


def test_options_of_text_lines_may_be_extra_too():
    requests, errors = read("txt", "a cat --sku 12 --seed 3\n", Columns(extra="keep"))
    assert (errors, requests[0].row.extra, requests[0].seed) == ([], {"sku": "12"}, 3)
    with pytest.raises(UsageError, match="text has no columns"):
        get_reader("txt", Columns(prompt_column="title"))


def test_a_column_named_prompt_is_an_extra_one_beside_the_prompt_column():
    text = "title,prompt\na cat,draw it\n"
    assert "is not the prompt" in read("csv", text, Columns(prompt_column="title"))[1][0]
    [request] = read("csv", text, KEEP)[0]
    assert (request.prompt, request.row.extra) == ("a cat", {"prompt": "draw it"})


def test_the_prompt_column_must_be_there():
    assert (
        "no column is named caption"
        in read("csv", "title\na\n", Columns(prompt_column="caption"))[1][0]
    )


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize(
    ("column", "hint"),
    [("titel", "did you mean --prompt-column title?"), ("xyzzy", "it has: ")],
)
@pytest.mark.parametrize("extra", ["keep", "ignore", "refuse"])
def test_a_prompt_column_that_no_row_has(name, column, hint, extra):
    reader = get_reader(name, Columns(extra=extra, prompt_column=column))
    errors: list[UsageError] = []
    for entry in reader(lines_of(WRITERS[name](ROWS)), f"f.{name}"):
        found = [entry] if isinstance(entry, UsageError) else entry.faults if entry else []
        errors += [e for error in found for e in getattr(error, "several", [error])]
    missing = [error for error in errors if "unknown field" not in error.message]
    assert missing
    assert all(error.hint.startswith(hint) for error in missing)
    assert all(column in error.message for error in missing)
    near = [error.hint for error in errors if "unknown field 'title'" in error.message]
    assert not near or column == "xyzzy" or set(near) == {hint}


@pytest.mark.parametrize("columns", [KEEP, Columns(extra="ignore", prompt_column="title")])
def test_a_misspelt_setting_is_pointed_out(columns):
    [entry] = [e for e in get_reader("jsonl", columns)(['{"title": "a", "stpes": 3}\n'], "f") if e]
    [note] = entry.notes
    assert "did you mean steps?" in note


def test_a_semicolon_table_is_recognized_by_its_prompt_column():
    [request] = read("csv", "sku;title\nA1;a cat\n", KEEP)[0]
    assert (request.prompt, request.row.extra) == ("a cat", {"sku": "A1"})


def test_columns_without_a_name_and_duplicates():
    text = "title,,sku,sku\na cat,1,2,3\n"
    assert read("csv", text, Columns(extra="ignore", prompt_column="title"))[1] == []
    errors = read("csv", text, KEEP)[1]
    assert ["column without a name" in errors[0], "duplicate column 'sku'" in errors[1]] == [
        True
    ] * 2


def test_extra_values_of_defaults_hold_for_rows_without_their_own():
    text = "title,sku,shop\n,none,north\na cat,A1,\na dog,,south\n"
    requests = read("csv", text, KEEP)[0]
    assert [r.row.extra for r in requests] == [
        {"sku": "A1", "shop": "north"},
        {"sku": "none", "shop": "south"},
    ]


def test_any_json_value_is_kept():
    text = '{"title": "a", "tags": ["x", {"y": [1, null]}], "price": 1.5, "ok": true}\n"b"\n'
    first, second = read("jsonl", text, KEEP)[0]
    assert first.row.extra == {"tags": ["x", {"y": [1, None]}], "price": 1.5, "ok": True}
    assert (second.prompt, second.row.extra) == ("b", {})


def test_dates_and_infinity_become_text():
    [request] = read("toml", "[[requests]]\ntitle = 'a'\nday = 2024-05-01\nx = inf\n", KEEP)[0]
    assert request.row.extra == {"day": "2024-05-01", "x": "Infinity"}
    assert math.isfinite(request.row.line)


def test_a_title_of_the_document_is_no_prompt():
    errors = read("json", '{"title": "x", "requests": [{"title": "a"}]}', KEEP)[1]
    assert "must be inside 'requests'" in errors[0]


@pytest.mark.parametrize("name", TABLES)
def test_the_placeholders_of_a_name_must_be_in_the_row(name):
    good = NameTemplate.parse("{sku}-{colour}-{seed}-{steps}-{scheduler}-{index}-{line}")
    assert read(name, WRITERS[name](ROWS), KEEP, name_template=good)[1] == []
    bad = NameTemplate.parse("{skuu}-{count}")
    errors = read(name, WRITERS[name](ROWS), KEEP, name_template=bad)[1]
    assert len(errors) == 4
    assert "unknown placeholder {skuu}" in errors[0]
    assert errors[0].startswith(f"f.{name}:")


def test_a_format_must_fit_every_row():
    text = "title,sku\na,1\nb,x\n"
    template = NameTemplate.parse("{sku:04d}")
    requests, errors = read("csv", text, KEEP, name_template=template)
    assert len(requests) == 1
    assert errors == ["f.csv:3:1: --name-template: 'x' does not fit {sku:04d}"]
