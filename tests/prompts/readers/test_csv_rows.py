"""Test the readers of CSV and TSV files."""

from __future__ import annotations

import pytest

from tests.prompts.prompt_files import assert_errors, entries_of, lines_of, read_text


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ('prompt,steps\na,x\n"b\nb",0\n', ["f.csv:2:3: num", "f.csv:4:4: num"]),
        ("prompt,stpes\na,1\nb,2\n", ["f.csv:1:8: unknown field 'stpes'"]),
        ("promt\na\n", ["f.csv:1:1: unknown field 'promt'"]),
        ("a cat on a mat\na dog\n", ["f.csv:1:1: no column is named prompt"]),
        ("# no\nsteps,sede\n8,1\n", ["f.csv:2:1: no column", "f.csv:2:7: unknown"]),
        (",prompt\n0,a\n", ["f.csv:1:1: column without a name"]),
        ("prompt,steps,s teps\na,1,2\n", ["f.csv:1:14: unknown field 's teps'"]),
        (
            'steps,prompt\n1,"a cat\n2,a dog\nx,a pig\n',
            ["f.csv:2:3: the quote is not closed", "f.csv:4:1: num"],
        ),
        ('prompt,steps\n"a "red" cat",1\n', ["f.csv:2:5: text after the closing quote"]),
        (
            'prompt,seed\n"a cat,1\n"a dog",x\n',
            ["f.csv:2:1: the quote is closed only in line 3", "f.csv:3:9: seed"],
        ),
        ('prompt,seed\n5" nails,x\n', ["f.csv:2:10: seed"]),
        ("seed,prompt\n1,a\n2,\n", ["f.csv:3:3: no prompt"]),
        ("prompt,steps,num_inference_steps\n", ["f.csv:1:14: duplicate column"]),
        ("prompt,prompt\na,1\n", ["f.csv:1:8: duplicate column 'prompt'"]),
        ("prompt\na,b\n", ["f.csv:2:3: 2 cells"]),
    ],
)
def test_errors_have_locations(text, errors):
    assert_errors("csv", text, errors)


def test_a_hint_names_the_delimiter_of_the_format():
    for name, delimiter, hint in (("csv", ",", "commas"), ("tsv", "\t", "tabs")):
        [entry], _ = entries_of(name, lines_of(f"prompt\na{delimiter}b\n"))
        assert entry.faults[0].hint == f"quote cells that contain {hint}"


def test_a_cell_may_have_several_lines():
    [request, other], errors = read_text("csv", 'prompt,seed\n"a ""red""\ncat",1\na dog,2\n')
    assert errors == []
    assert (request.prompt, request.seed) == ('a "red"\ncat', 1)
    assert (other.prompt, other.seed) == ("a dog", 2)


def test_short_rows_and_blank_rows_are_valid():
    requests, errors = read_text("tsv", "prompt\tseed\na\n\t\n\nb\t3\n")
    assert errors == []
    assert [(request.prompt, request.seed) for request in requests] == [("a", None), ("b", 3)]
