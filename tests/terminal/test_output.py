"""One door for everything that is printed: safe on a terminal, unchanged for programs."""

from __future__ import annotations

import ast
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from sdcli.errors import ModelError
from sdcli.terminal import printing, tables
from sdcli.terminal.console import Console
from sdcli.terminal.dry_run_report import _format_job
from sdcli.terminal.output import has_styles, print_data, print_lines, print_traceback
from tests.terminals import run_python

ROOT = Path(__file__).parents[2]
HOSTILE = "a\x1b[31m\x9b2J\x07\u202eb"
SAFE = "a\\x1b[31m\\x9b2J\\x07\\u202eb"

JOB = dict.fromkeys(("index", "width", "height", "num_inference_steps", "guidance_scale"), 1)
JOB["guidance_schedule"] = None
DOORS: dict[str, Callable[[str], object]] = {
    "facts, value": lambda text: tables.print_facts({"name": text}),
    "facts, key": lambda text: tables.print_facts({text: 1}),
    "document, key": lambda text: printing.print_document({text: 1}, json=False),
    "document, JSON": lambda text: printing.print_document({text: text}, json=True),
    "table, cell": lambda text: tables.print_columns(("name",), [(text,)]),
    "table, header": lambda text: tables.print_columns((text,), [("cell",)]),
    "lines": lambda text: print_lines([text]),
    "wrapped lines": lambda text: print_lines(tables.wrap_text(text)),
    "job": lambda text: print_lines(
        [_format_job({**JOB, "done": False, "seed": 1, "scheduler": text, "prompt": text})]
    ),
    "warning": lambda text: Console().warn(text),
    "error": lambda text: Console().error(ModelError(text, code="model", hint=text)),
    "summary": lambda text: Console().summary(text),
}


def test_a_traceback_is_whole_and_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    error = ValueError(HOSTILE)
    print_traceback(ValueError, error, None)
    assert capsys.readouterr().err == f"ValueError: {SAFE}\n"


@pytest.mark.parametrize("name", DOORS)
def test_no_control_character_is_printed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    DOORS[name](HOSTILE)
    printed = "".join(capsys.readouterr())
    assert printed.replace("\n", "").isprintable()
    assert "31m" in printed


@pytest.mark.parametrize("name", DOORS)
def test_text_from_a_file_cannot_begin_a_line(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    DOORS[name]("a cat\nforged: 1\rforged: 2\u2028forged: 3\x85forged: 4")
    printed = "".join(capsys.readouterr())
    assert "forged: 4" in printed
    assert not any(line.startswith("forged") for line in printed.splitlines())


def test_data_is_unchanged_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    print_data(HOSTILE)
    assert capsys.readouterr().out == HOSTILE + "\n"


SCRIPT = """
import sys
from sdcli.result import StepEvent
from sdcli.terminal import progress
from sdcli.terminal.console import Console
from sdcli.terminal.output import print_data
progress._DELAY_SECONDS = 0.0
messages = Console()
with messages.progress(3) as bar:
    bar.on_step(StepEvent(job_indices=(0,), step=1, steps=2, timestep=1.0))
    print_data(sys.argv[1])
    messages.warn(":smile: [bold]careful[/bold] " + sys.argv[1])
    bar.advance(1)
"""


def in_terminal(*argv: str) -> str:
    """The output of a script in a terminal of 80 columns."""
    code, text = run_python(["-c", SCRIPT, *argv], env={"COLUMNS": "80"})
    assert code == 0
    return text


def test_lines_longer_than_the_terminal_stay_whole_while_the_bar_is_up() -> None:
    path = "/a/" + "b c-[red]d:cat:/" * 20 + "cat.png"
    output = in_terminal(path)
    assert f"{path}\n" in output
    assert f"sdcli: warning: :smile: [bold]careful[/bold] {path}\n" in output
    assert "images" in output


def test_a_path_on_a_terminal_is_escaped() -> None:
    output = in_terminal(HOSTILE)
    assert f"{SAFE}\n" in output
    assert HOSTILE not in output


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "env", "expected"),
    [
        (Terminal(), {"TERM": "xterm"}, True),
        (Terminal(), {"TERM": "dumb"}, False),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": ""}, True),
        (io.StringIO(), {"TERM": "xterm"}, False),
    ],
)
def test_styles_are_for_terminals_that_show_them(
    stream: io.StringIO, env: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert has_styles(stream) is expected
    tables.print_columns(("name",), [("cell",)], stream)
    assert ("\x1b[1m" in stream.getvalue()) is expected


def printing_calls(path: Path) -> list[str]:
    """Calls that print text, in the source of a file."""
    names = ("print", "typer.echo", "sys.stdout.write", "sys.stderr.write", "typer.secho")
    return [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in names
    ]


def test_nothing_is_printed_elsewhere() -> None:
    """The training of the embedded model is a tool apart."""
    package = ROOT / "sdcli"
    door = package / "terminal" / "output.py"
    paths = [path for path in sorted(package.rglob("*.py")) if path != door]
    calls = [call for path in paths for call in printing_calls(path)]
    assert [call for call in calls if not call.startswith("sdcli/training/")] == []
