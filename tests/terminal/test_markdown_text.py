"""The manual on terminals of several widths."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from sdcli import docs
from sdcli.terminal.markdown_text import fit_lines, fit_markdown
from tests.terminals import run_sdcli, without_styles

ROOT = Path(__file__).parents[2]
WIDTHS = (60, 80, 200)


def words(text: str) -> list[str]:
    """The words of a page, without the lines of tables and the ends of broken commands."""
    plain = text.replace("\\|", " ").replace("|", " ")
    return [word for word in plain.split() if word != "\\" and not re.fullmatch(r"-+", word)]


def too_wide(lines: list[str], width: int) -> list[str]:
    """The wide lines, but for a word or a string of a command that is wider, with its flag."""
    one = re.compile(r"""\s*(-\w+ )?(\S+|'[^']*'|"[^"]*")[;\\ ]*""")
    return [line for line in lines if len(line) > width and not one.fullmatch(line)]


def page(topic: str, width: int) -> list[str]:
    return fit_markdown(docs.read_topic(topic), width)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("topic", [topic for topic in docs.TOPICS if topic != "options"])
def test_a_page_fits_and_keeps_its_words(topic: str, width: int) -> None:
    lines = page(topic, width)
    assert not too_wide(lines, width)
    if not any(line.startswith("|") for line in docs.read_topic(topic).splitlines()):
        assert words("\n".join(lines)) == words(docs.read_topic(topic))
    else:
        assert sorted(words("\n".join(lines))) == sorted(words(docs.read_topic(topic)))


@pytest.mark.parametrize("topic", docs.TOPICS)
def test_prose_is_never_wider_than_can_be_read(topic: str) -> None:
    text = "\n".join(page(topic, 200))
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    paragraphs = [line for line in prose.splitlines() if re.match(r"[A-Z-]", line)]
    assert all(len(line) <= 100 for line in paragraphs if "  " not in line)


@pytest.mark.parametrize("topic", docs.TOPICS)
def test_commands_can_be_pasted_from_a_narrow_terminal(topic: str) -> None:
    """Broken lines are the same commands, and files written by a page the same files."""

    def commands(text: str) -> list[list[str]]:
        blocks = re.findall(r"^```sh\n(.*?)^```$", text, flags=re.M | re.S)
        return [shlex.split(block.replace("\\\n", " "), comments=True) for block in blocks]

    fitted = "\n".join(page(topic, 60)) + "\n"
    assert commands(fitted) == commands(docs.read_topic(topic))
    files = r"<<'END'\n(.*?)^END$"
    assert re.findall(files, fitted, flags=re.M | re.S) == re.findall(
        files, docs.read_topic(topic), flags=re.M | re.S
    )


def test_python_is_not_broken_in_a_narrow_terminal() -> None:
    [*blocks] = re.findall(r"^```python\n(.*?)^```$", docs.read_topic("python"), flags=re.M | re.S)
    assert all(len(line) <= 60 for block in blocks for line in block.splitlines())


def test_the_parts_of_a_page() -> None:
    text = (
        "# A title\n\nA paragraph that is\nfilled again.\n- an item that is too long\n  for it\n"
        "- next\n\n| a | b |\n|---|---|\n| 1 | a \\| b and a long cell of words |\n\n"
        '```sh\nsdcli generate "a cat and a dog" --steps 8 -o cat.png\n```\n'
    )
    assert fit_markdown(text, 30) == [
        "# A title",
        "",
        "A paragraph that is filled",
        "again.",
        "- an item that is too long for",
        "  it",
        "- next",
        "",
        "a  b",
        "-  ---------------------------",
        "1  a | b and a long cell of",
        "   words",
        "",
        "```sh",
        "sdcli generate \\",
        '  "a cat and a dog" \\',
        "  --steps 8 -o cat.png",
        "```",
    ]


@pytest.mark.parametrize(
    ("line", "fitted"),
    [
        ("short", ["short"]),
        ("  -o PATH   where the images are written", [
            "  -o PATH   where the images", "            are written",
        ]),
        ("  --a-long-option PATH   an image or more", [
            "  --a-long-option PATH   an", "    image or more",
        ]),
        ("a line of words that is too long", ["a line of words that is too", "  long"]),
        ("    sdcli generate cat --steps 12345", ["    sdcli generate cat --steps", "      12345"]),
        ("x" * 40, ["x" * 40]),
        ("", [""]),
    ],
)  # fmt: skip
def test_lines_continue_below_their_last_column(line: str, fitted: list[str]) -> None:
    assert fit_lines([line], 30) == fitted


@pytest.mark.sample(5)
@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("words", ["options", "scripting", "latents", "generate", "latents grid"])
def test_the_command_fits_its_terminal(words: str, columns: int) -> None:
    """`options` has the help of every command, which is made again for a narrow terminal."""
    code, text = run_sdcli("help", *words.split(), columns=columns, env={"PAGER": "cat"})
    assert code == 0
    lines = without_styles(text).splitlines()
    assert len(lines) > 20
    assert not too_wide(lines, columns)
    if words == "options":
        assert "$ sdcli latents grid --help" in lines
