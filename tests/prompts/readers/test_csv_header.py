"""Test the checks of CSV headers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.errors import UsageErrors
from sdcli.prompts.entry import SourceLocation
from sdcli.prompts.readers.csv_header import check_header, sniff_delimiter
from tests.prompts.prompt_files import assert_errors


def check(*header):
    return check_header(header, lambda index: SourceLocation("f", 1, index + 1))


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
    ("delimiter", "text", "actual"),
    [
        (",", "prompt;seed\r\n", ";"),
        (",", "prompt\tseed\n", "\t"),
        (",", "prompt|seed", "|"),
        ("\t", "seed,prompt\n", ","),
        (",", '"prompt";"seed, of all"\n', ";"),
        (",", "sep=;\r\n", ";"),
        (",", '"sep=,"\n', ","),
        (",", "prompt,a;b\n", None),
        (",", "prompt\n", None),
        (",", "a cat; a dog\n", None),
        (";", "prompt;seed\n", None),
        (",", 'sep="\n', None),
        (",", '"prompt;\n', None),
        (",", "prompt;a\rb;" + "x" * 200_000, None),
    ],
)
def test_another_delimiter_is_recognized(delimiter, text, actual):
    assert sniff_delimiter(text, delimiter) == actual


@pytest.mark.parametrize("first", ["// a list", "; a list"])
def test_comments_of_other_formats_are_named(first):
    error = check(first, "steps")
    assert isinstance(error, UsageErrors)
    assert error.several[0].hint == "a comment line begins with #"


@given(st.text(max_size=30), st.sampled_from(",;\t|"))
def test_any_first_line_is_sniffed(text, delimiter):
    assert sniff_delimiter(text, delimiter) in (None, *",;\t|")


def test_errors_after_a_sniffed_header_have_their_place():
    assert_errors("csv", "sep=;\nprompt;steps\na;x\n", ["f.csv:3:3: num_inference_steps"])
    assert_errors("csv", '#\n"prompt";"steps"\na;2\n"a;2\n', ["f.csv:4:1: the quote is not closed"])
