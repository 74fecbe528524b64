"""Prompts in any encoding, with any line ends, through the real `main()`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.prompts.prompt_files import FORMATS, WRITERS

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16"]
ENDS = ["\n", "\r", "\r\n"]
ROWS = [{"prompt": "a cat"}, {"prompt": "ein Äpfelchen"}, {"prompt": "a fish"}]


def planned(run_cli, *argv, stdin=""):
    ran = run_cli("batch", *argv, "--dry-run", "--json", "--seed", "1", stdin=stdin)
    assert ran.code == 0, ran.stderr
    return [job["prompt"] for job in ran.document["jobs"]]


@pytest.mark.sample(30)
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ENDS)
def test_a_prompt_file_may_have_any_encoding_and_line_ends(run_cli, tmp_path, name, encoding, end):
    data = WRITERS[name](ROWS).replace("\r\n", "\n").replace("\n", end).encode(encoding)
    (tmp_path / f"f.{name}").write_bytes(data)
    prompts = [row["prompt"] for row in ROWS]
    assert planned(run_cli, f"f.{name}") == prompts
    assert planned(run_cli, "-", "--input-format", name, stdin=data) == prompts


@pytest.mark.parametrize("name", FORMATS)
def test_nul_in_a_file_is_refused_with_its_place(run_cli, tmp_path, name):
    data = WRITERS[name](ROWS).replace("fish", "fi\0sh")
    (tmp_path / f"f.{name}").write_text(data)
    for argv, stdin in (([f"f.{name}"], ""), (["-", "--input-format", name], data)):
        ran = run_cli("batch", *argv, "--dry-run", stdin=stdin)
        assert ran.code == 2
        file = "stdin" if stdin else f"f.{name}"
        assert f"sdcli: error: {file}:" in ran.stderr
        assert "NUL character" in ran.stderr


@pytest.mark.parametrize("name", ["jsonl", "json", "yaml", "toml"])
def test_nul_behind_an_escape_is_refused_with_its_place(run_cli, tmp_path, name):
    escape = {"yaml": r"\0"}.get(name, r"\u0000")
    data = {"yaml": '- prompt: "a@b"\n', "toml": '[[requests]]\nprompt = "a@b"\n'}.get(
        name, '{"prompt": "a@b"}\n'
    )
    (tmp_path / f"f.{name}").write_text(data.replace("@", escape))
    ran = run_cli("batch", f"f.{name}", "--dry-run")
    assert ran.code == 2
    assert f"f.{name}:{2 if name == 'toml' else 1}:" in ran.stderr
    assert "NUL character" in ran.stderr
    assert "\0" not in ran.stderr


def test_nul_separates_prompts_on_request(run_cli):
    data = b"a fox\0# two\nlines\0\0 --steps 3\0"
    ran = run_cli("generate", "-", stdin=data)
    assert ran.code == 2
    assert "stdin:1:6: NUL character" in ran.stderr
    assert "-0" in ran.stderr
    ran = run_cli("generate", "-", "-0", "--steps", "1", "--size", "64x64", "--json", stdin=data)
    assert ran.code == 0
    prompts = [image["prompt"] for image in ran.document["images"]]
    assert prompts == ["a fox", "# two\nlines", "--steps 3"]


def test_nul_separates_the_lines_of_a_text_file_on_request(run_cli, tmp_path):
    data = b"a fox --steps 3\0a\ncat\0"
    (tmp_path / "f").write_bytes(data)
    assert planned(run_cli, "-", "--null", stdin=data) == ["a fox", "a\ncat"]
    assert planned(run_cli, "f", "-0") == ["a fox", "a\ncat"]
    ran = run_cli("batch", "f", "--null", "--input-format", "csv")
    assert (ran.code, "can't be used with --input-format csv" in ran.stderr) == (2, True)
    assert run_cli("generate", "a cat", "--null").code == 2


@pytest.mark.parametrize(
    "target", ["/proc/self/mem", ".", "nowhere.txt", "x" * 300, "~nouser/a.txt", "/dev/full/x"]
)
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_file_that_cannot_be_read_is_a_usage_error(run_cli, target, dry_run):
    more = ["--dry-run"] if dry_run else []
    ran = run_cli("batch", target, "--input-format", "txt", *more)
    assert ran.code == 2
    assert ran.stderr.startswith("sdcli: error: ")
    assert run_cli("bench", "batch", "--prompts", target).code == 2


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("csv", 'prompt\n"a\n'),
        ("csv", 'prompt\n"' + "x" * 200_000 + '"\n'),
        ("csv", 'prompt,seed\n"a"b,1\n'),
        ("json", '{"prompt": }'),
        ("jsonl", '{"prompt": "a" "b"}'),
        ("jsonl", '{"prompt": "\\x"}'),
        ("yaml", "a: b: c"),
        ("yaml", "- @a"),
        ("yaml", "- 'a"),
        ("yaml", "- &a [*b]"),
        ("toml", "a = "),
        ("toml", "= 3"),
        ("toml", "[a\n"),
        ("toml", 'a = "\\q"'),
    ],
)
def test_no_sentence_of_a_parser_reaches_the_user(run_cli, tmp_path, name, text):
    (tmp_path / f"f.{name}").write_text(text)
    ran = run_cli("batch", f"f.{name}", "--dry-run", "--json")
    assert ran.code == 2
    message = json.loads(ran.stdout.splitlines()[0])["error"]["message"]
    assert message.startswith(f"f.{name}:")
    words = ("Expecting", "Invalid ", "newline", "token", "namespace", "context", "did not find")
    assert not [word for word in words if word in message], message


NUMBERS = ("1e400", "-1e400", "inf", "-inf", "nan")


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("a.csv", "prompt,guidance\na cat,{}\n"),
        ("a.yaml", "- prompt: a cat\n  guidance: {}\n"),
        ("b.yaml", "- prompt: a cat\n  guidance: .{}\n"),
        ("a.json", '[{{"prompt": "a cat", "guidance": {}}}]'),
        ("a.jsonl", '{{"prompt": "a cat", "guidance": {}}}\n'),
        ("a.toml", "[[requests]]\nprompt = 'a cat'\nguidance = {}\n"),
        ("a.txt", "a cat --guidance {}\n"),
        ("sdcli.toml", "guidance = {}\n"),
        ("SDCLI_GUIDANCE", "{}"),
        ("--guidance", "{}"),
    ],
)
def test_a_number_that_is_not_finite_is_refused_at_every_door(
    run_cli, monkeypatch, file, text, number
):
    Path("plain.txt").write_text("a cat\n")
    argv = ["plain.txt"]
    if file.startswith("SDCLI"):
        monkeypatch.setenv(file, number)
    elif file.startswith("--"):
        argv.append(f"{file}={number}")
    else:
        Path(file).write_text(text.format(number))
        argv = argv if file == "sdcli.toml" else [file]
    ran = run_cli("batch", *argv, "--dry-run")
    assert (ran.code, ran.stderr.count("sdcli: error: ")) == (2, 1)
    # JSON has no words for these numbers, and YAML takes them for text without its dot.
    reason = "too large|not a number|not a finite number|infinite|invalid (JSON|TOML)"
    assert re.search(reason, ran.stderr), ran.stderr


@pytest.mark.parametrize("folder", ["w", "lists", "wildcards in"])
@pytest.mark.parametrize("mode", ["random", "all"])
@pytest.mark.parametrize(
    "line", ["{red|", "{red", "x {red|", "{a|{b}", "{2$$a|b", "{0.5::a|b", "__none__"]
)
def test_a_bad_line_of_a_wildcard_list_is_named_by_file_and_line(run_cli, folder, mode, line):
    Path(folder).mkdir()
    Path(folder, "color.txt").write_text(f"blue\n{line}\n")
    Path(folder, "outer.txt").write_text("a __color__ x\n")
    Path("a.txt").write_text("a __outer__ thing\n")
    options = ("--wildcards", folder, "--wildcard-mode", mode)
    ran = run_cli("batch", "a.txt", *options, "--dry-run")
    assert ran.code == 2
    assert f"{folder}/color.txt:2: " in ran.stderr
