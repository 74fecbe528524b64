"""Test the checks of CSV headers."""

from __future__ import annotations

import pytest

from sdcli.errors import UsageErrors
from sdcli.prompts.entry import SourceLocation
from sdcli.prompts.readers.csv_header import check_header
from tests.prompts.prompt_files import assert_errors


def check(*header, delimiter=","):
    return check_header(header, lambda index: SourceLocation("f", 1, index + 1), delimiter)


def test_names_may_have_spaces_case_and_any_order():
    assert check("Seed", " CFG Scale ", "Prompt") is None


def test_all_errors_are_reported_with_their_columns():
    error = check("prompt", "stpes", "", "prompt")
    assert isinstance(error, UsageErrors)
    assert [str(one).partition(": ")[0] for one in error.several] == ["f:1:2", "f:1:3", "f:1:4"]


def test_a_first_row_without_any_field_is_one_error():
    error = check("a cat", " on a mat")
    assert str(error) == "f:1:1: no column is named prompt"


@pytest.mark.parametrize(
    ("delimiter", "header", "hint"),
    [
        (",", "prompt\tseed", "separate the columns with commas, or use --input-format tsv"),
        ("\t", "seed,prompt", "separate the columns with tabs, or use --input-format csv"),
        (",", "prompt|seed", "separate the columns with commas"),
    ],
)
def test_another_delimiter_is_recognized(delimiter, header, hint):
    error = check(header, delimiter=delimiter)
    assert error is not None
    assert error.hint == hint


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("prompt,steps\na,1\n", ["f.tsv:1:1: expected tabs between columns, not commas"]),
    ],
)
def test_a_wrong_delimiter_has_a_location(text, errors):
    assert_errors("tsv", text, errors)
