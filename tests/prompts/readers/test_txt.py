"""Test the reader of text files."""

from __future__ import annotations

import pytest

from sdcli.prompts.entry import SourceLocation
from sdcli.prompts.readers.txt import read_plain_lines
from tests.prompts.prompt_files import assert_errors, read_text


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("a cat\na dog --stpes 3 --seed x\n", ["f.txt:2:7: unknown", "f.txt:2:17: seed"]),
        ('a --n "red\n', ["f.txt:1:7: --n: the quote"]),
        ('a --n "b" c\n', ["f.txt:1:11: --n: unexpected 'c' after"]),
        ("a --steps\n", ["f.txt:1:10: --steps has no value"]),
        ("a --steps 3 --s 4\n", ["f.txt:1:13: --s is a duplicate option"]),
        ("a --steps 3 --steps 4\n", ["f.txt:1:13: --steps is a duplicate option"]),
        ("a\n--steps 4\n", ["f.txt:2:1: no prompt"]),
        ('a --stpes --n "red\n', ["f.txt:1:3: unknown field 'stpes'", "f.txt:1:15: --n"]),
        ('--prompt "a\nb --prompt "a\n', ["f.txt:1:10: --prompt", "f.txt:2:3: --prompt"]),
        ("a --restore_faces\n", ["f.txt:1:3: 'restore_faces' is"]),
        ("a --offline b\n", ["f.txt:1:3: offline: 'b' is not true or false"]),
    ],
)
def test_errors_have_locations(text, errors):
    assert_errors("txt", text, errors)


def test_switches_need_no_value_and_short_names_ignore_case():
    [request], errors = read_text("txt", "a cat --offline --W 64 --H 72 --N a dog --force-vae\n")
    assert errors == []
    assert (request.spec.offline, request.spec.force_vae, request.width) == (True, True, 64)
    assert (request.height, request.negative_prompt) == (72, "a dog")


def test_kohya_and_a1111_lines_make_the_same_request():
    kohya = "a cat, (red:1.2) -- really --n dog, two --w 64 --h 72 --d 7 --s 20 --l 3.5 --ss ddim"
    a1111 = (
        '--prompt "a cat, (red:1.2) -- really" --negative_prompt dog, two --width 64 --height 72 '
        '--seed 7 --steps 20 --cfg_scale 3.5 --sampler_name "ddim"'
    )
    [one], [other] = read_text("txt", kohya)[0], read_text("txt", a1111)[0]
    assert one == other
    assert one.prompt == "a cat, (red:1.2) -- really"
    assert (one.negative_prompt, one.height, one.seed) == ("dog, two", 72, 7)


def test_options_inside_quotes_are_text():
    [request], errors = read_text("txt", """a "--seed 1" --n "x --steps 2" --d '3'\n""")
    assert errors == []
    assert (request.prompt, request.negative_prompt, request.seed) == (
        'a "--seed 1"',
        "x --steps 2",
        3,
    )


def test_plain_lines_have_no_options():
    entries = list(read_plain_lines(["# no\n", "\n", " a cat --steps 3 \n"], "f"))
    assert entries[:2] == [None, None]
    assert entries[2].fields == {"prompt": "a cat --steps 3"}
    assert entries[2].location == SourceLocation("f", 3)
