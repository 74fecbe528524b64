"""Test the reader of TOML documents."""

from __future__ import annotations

import pytest

from tests.prompts.prompt_files import assert_errors, read_text


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ('steps = 3\n[[requests]]\nprompt = "a"\nseed = "x"\n', ["f.toml:4:1: seed"]),
        ("steps = \n", ["f.toml:1:9: invalid TOML"]),
        ('[[requests]]\nprompt="a"\n[[requests]]\nprompt="b"\nsteps="q"\n', ["f.toml:5:1: num"]),
        (
            'requests = [\n  {prompt = "a", eta = 2}, # a = {\n  {seed = 1, prompt = 3},\n 5]\n',
            ["f.toml:2:18: eta", "f.toml:3:14: prompt", "f.toml:4:2: not a request"],
        ),
        ('defaults = {eta = 2}\n[[requests]]\nprompt="a"\n', ["f.toml:1:13: eta"]),
        ('defaults.eta = 2\n[[requests]]\nprompt="a"\n', ["f.toml:1:1: eta"]),
        ('[[requests]]\nprompt="""\neta = 1\n"""\neta = 2', ["f.toml:5:1: eta"]),
        ('[[requests]]\nprompt = """\na\n', ["f.toml:2:10: invalid TOML: the quote"]),
        ('requests = [\n "a",\n "b"\n', ["f.toml:1:12: invalid TOML: the bracket"]),
        ("a = 1\na = 2\n", ["f.toml:2:6: invalid TOML: the key is set twice"]),
        (f"a = 1\nseed = {'1' * 5000}", ["f.toml:2:8: invalid TOML: number with 5000 digits"]),
        ('prompt = "a"\nrequests = []\n', ["f.toml:1:1: 'prompt' must be inside"]),
    ],
)
def test_errors_have_locations(text, errors):
    assert_errors("toml", text, errors)


def test_windows_line_ends_keep_locations():
    assert_errors("toml", 'prompt = "a"\r\neta = 2\r\n', ["f.toml:2:1: eta"])
    assert read_text("toml", 'prompt = "a"\r\n')[1] == []
