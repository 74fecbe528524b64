"""`sdcli help`: the manual on a terminal, in a pipe and as JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdcli import docs
from sdcli.cli import COMMANDS
from sdcli.terminal.markdown_text import fit_markdown
from sdcli.terminal.pager import highlight, show_text
from tests.conftest import RunCli
from tests.terminals import run_sdcli
from tests.test_startup import HEAVY, probe

LISTS = "sdcli help lists the topics; sdcli help --search WORD searches them"


def test_without_a_topic_each_has_a_line(run_cli: RunCli) -> None:
    ran = run_cli("help")
    assert ran.code == 0
    starts = [line.split()[0] for line in ran.stdout.splitlines() if line[:1].strip()]
    assert starts == [*docs.TOPICS, "sdcli"]


@pytest.mark.parametrize("topic", docs.TOPICS)
def test_a_topic_prints_its_page_without_comments(run_cli: RunCli, topic: str) -> None:
    ran = run_cli("help", topic)
    assert ran.code == 0
    assert ran.stdout.startswith("# ")
    assert "<!--" not in ran.stdout
    assert "\x1b" not in ran.stdout


@pytest.mark.parametrize(
    "name", ["Prompt-Files", "prompt_files", "prompt files", "prompt-files.md"]
)
def test_spellings_of_a_topic(run_cli: RunCli, name: str) -> None:
    assert run_cli("help", *name.split()).stdout.startswith("# Prompt files\n")


OTHER_NAMES = {
    "lora": "add-ons",
    "LoRAs": "add-ons",
    "textual inversion": "add-ons",
    "sdxl": "models",
    "inpainting": "image-to-image",
    "hires": "image-to-image",
    "controlnets": "controlnet",
    "ip adapters": "ip-adapter",
    "canny": "controlnet",
    "ray": "clusters",
    "slurm": "clusters",
    "csv": "prompt-files",
    "wildcards": "prompt-files",
    "exif": "records",
    "sampler": "schedulers",
    "exit codes": "scripting",
    "notebook": "python",
    "oom": "faq",
    "a1111": "coming-from",
    "--lora": "add-ons",
}


@pytest.mark.parametrize(("name", "topic"), OTHER_NAMES.items())
def test_other_words_for_a_topic(run_cli: RunCli, name: str, topic: str) -> None:
    arguments = ["--", name] if name.startswith("-") else name.split()
    assert run_cli("help", *arguments).stdout.rstrip() == docs.read_topic(topic).rstrip()


def test_the_other_words_are_no_topics_or_commands(run_cli: RunCli) -> None:
    assert not set(docs.OTHER_NAMES) & {*docs.TOPICS, *COMMANDS}
    assert set(docs.OTHER_NAMES.values()) <= set(docs.TOPICS)


@pytest.mark.parametrize("command", [*COMMANDS, "latents grid", "vae compare"])
def test_a_command_prints_its_help(run_cli: RunCli, command: str) -> None:
    """A page of the same name comes first."""
    ran = run_cli("help", *command.split())
    assert ran.code == 0
    assert ran.stdout.endswith(run_cli(*command.split(), "--help").stdout)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["cosine"], "sdcli help --search cosine shows the lines with this word"),
        (["instal"], "did you mean install?"),
        (["promptfiles"], "did you mean prompt-files?"),
        (["generat"], "did you mean generate?"),
        (["xyzzy"], LISTS),
        (["latents", "girdle"], "did you mean latents?"),
        (["../../etc/passwd"], LISTS),
        (["a\x1b[31mb"], LISTS),
        ([""], LISTS),
    ],
)
def test_an_unknown_topic_is_a_usage_error(run_cli: RunCli, words: list[str], hint: str) -> None:
    ran = run_cli("help", *words)
    assert (ran.code, ran.stdout) == (2, "")
    assert ran.stderr.splitlines()[-1] == f"sdcli: hint: {hint}"
    assert "\x1b" not in ran.stderr
    assert run_cli("help", *words, "--json").document["exit_code"] == 2


def test_search_prints_the_lines_with_their_topics(run_cli: RunCli) -> None:
    ran = run_cli("help", "--search", "SEED")
    assert ran.code == 0
    lines = ran.stdout.splitlines()
    assert {line.split(":")[0] for line in lines} >= {"seeds", "prompt-files", "options"}
    assert all("seed" in line.lower() for line in lines)
    assert "\x1b" not in ran.stdout
    assert ran.stdout.startswith("seeds: "), "the page about seeds is first"
    within = run_cli("help", "seeds", "--search", "seed").stdout.splitlines()
    assert within == [line for line in lines if line.startswith("seeds:")]


def test_search_needs_all_words_of_a_line(run_cli: RunCli) -> None:
    [line] = run_cli("help", "--search", "signal-to-noise psnr").stdout.splitlines()
    assert line.startswith("glossary: - PSNR")


@pytest.mark.parametrize("argv", [["--search", "xyzzy"], ["--search", " "], ["x", "--search", "a"]])
def test_a_search_without_result_is_a_usage_error(run_cli: RunCli, argv: list[str]) -> None:
    ran = run_cli("help", *argv)
    assert (ran.code, ran.stdout) == (2, "")
    assert "sdcli: hint: " in ran.stderr


def test_json(run_cli: RunCli) -> None:
    topics = run_cli("help", "--json").document["topics"]
    assert [topic["name"] for topic in topics] == list(docs.TOPICS)
    assert run_cli("help", "seeds", "--json").document["text"] == docs.read_topic("seeds")
    [match] = run_cli("help", "--search", "structural similarity", "--json").document["matches"]
    lines = docs.read_topic(match["topic"]).splitlines()
    assert lines[match["line"] - 1] == match["text"]


@pytest.mark.parametrize("argv", [["help"], ["help", "options"], ["help", "--search", "seed"]])
def test_the_manual_needs_no_heavy_library(argv: list[str], tmp_path: Path) -> None:
    code, modules = probe(*argv, cwd=tmp_path)
    assert code == 0
    assert not (HEAVY | {"PIL", "numpy"}) & modules


def on_a_terminal(*argv: str, **env: str) -> str:
    """The output of the program when stdin and stdout are a terminal."""
    code, text = run_sdcli(*argv, env=env)
    assert code == 0
    return text


def test_a_terminal_gets_the_pager_that_is_chosen() -> None:
    text = on_a_terminal("help", "glossary", PAGER="sed s/^/through:/")
    lines = fit_markdown(docs.read_topic("glossary"), 80)
    assert text == "".join(f"through:{line}\n" for line in lines)


@pytest.mark.parametrize("name", ["help", "help --search psnr"])
def test_short_texts_need_no_pager(name: str) -> None:
    assert "through:" not in on_a_terminal(*name.split(), PAGER="sed s/^/through:/")


def test_matches_are_bold_on_a_terminal_with_colours() -> None:
    assert "\x1b[1mPSNR\x1b[0m" in on_a_terminal("help", "--search", "psnr")
    assert "\x1b" not in on_a_terminal("help", "--search", "psnr", NO_COLOR="1")
    assert "\x1b" not in on_a_terminal("help", "--search", "psnr", TERM="dumb")


def test_a_search_in_a_very_narrow_terminal() -> None:
    assert "PSNR" in on_a_terminal("help", "--search", "psnr", COLUMNS="14", NO_COLOR="1")


def test_control_characters_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    show_text("a\x1b[31mb\n")
    assert capsys.readouterr().out == "a\\x1b[31mb\n"
    assert highlight("a\x1b[31mb\nc", "b") == "a\\x1b[31mb\\nc"


@pytest.mark.parametrize("argv", [["--help"], ["vae", "-h"], ["latents", "grid", "--help"]])
def test_help_goes_through_the_door_of_all_output(run_cli, monkeypatch, argv):
    expected = run_cli(*argv).stdout
    printed = []
    monkeypatch.setattr("sdcli.terminal.output.write_line", lambda text, _: printed.append(text))
    ran = run_cli(*argv)
    assert (ran.code, ran.stdout) == (0, "")
    assert [f"{text}\n" for text in printed] == [expected]
