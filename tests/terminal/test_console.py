"""Messages are free of control characters; a bar appears on a terminal only, for long work."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.errors import ModelError
from sdcli.result import SavedImage, StepEvent
from sdcli.storage.text import one_line, printable
from sdcli.terminal import console
from sdcli.terminal.json_output import (
    error_document,
    image_document,
    print_json_line,
    run_document,
    step_document,
)
from sdcli.terminal.output import print_data
from tests.jobs import make_result


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def step(number: int, steps: int = 4) -> StepEvent:
    return StepEvent(job_indices=(0,), step=number, steps=steps, timestep=1.0)


def test_an_error_is_printed_with_its_hint_even_when_quiet() -> None:
    stream = io.StringIO()
    error = ModelError("no model at 'x'", code="model.not_found", hint="give a folder")
    console.Console(verbosity=-1, stream=stream).error(error)
    assert stream.getvalue() == "sdcli: error: no model at 'x'\nsdcli: hint: give a folder\n"


def test_the_verbosity_decides_which_messages_are_printed() -> None:
    printed = {}
    for verbosity in (-1, 0, 1, 2):
        stream = io.StringIO()
        messages = console.Console(verbosity=verbosity, stream=stream)
        messages.warn("w")
        messages.summary("s")
        messages.note("n")
        messages.note("nn", level=2)
        printed[verbosity] = [line.split()[-1] for line in stream.getvalue().splitlines()]
    assert printed == {-1: [], 0: ["w", "s"], 1: ["w", "s", "n"], 2: ["w", "s", "n", "nn"]}


@given(st.text())
def test_no_control_character_reaches_the_terminal(text: str) -> None:
    clean = one_line(text)
    assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in clean)
    assert "\u202e" not in clean
    assert "\n" not in clean
    clean.encode("utf-8")
    assert printable(clean) == clean


def test_a_pipe_gets_no_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdcli.terminal.progress._DELAY_SECONDS", 0.0)
    stream = io.StringIO()
    with console.Console(stream=stream).progress(2) as bar:
        bar.on_step(step(1))
        bar.advance(1)
    assert stream.getvalue() == ""


def test_a_terminal_gets_a_progress_bar_after_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    quick, slow = Terminal(), Terminal()
    with console.Console(stream=quick).progress(2) as bar:
        bar.on_step(step(1))
    assert quick.getvalue() == ""
    monkeypatch.setattr("sdcli.terminal.progress._DELAY_SECONDS", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    with console.Console(stream=slow).progress(None) as bar:
        bar.on_step(step(2))
        bar.advance(1)
    assert "images" in slow.getvalue()


def test_a_progress_bar_redirects_no_data_and_is_not_torn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rich redirects stdout to its console, here stderr, unless it is told not to."""
    monkeypatch.setattr("sdcli.terminal.progress._DELAY_SECONDS", 0.0)
    stream = Terminal()
    messages = console.Console(stream=stream)
    with messages.progress(2) as bar:
        bar.on_step(step(2))
        print_data("cat.png")
        messages.warn("[bold]cut off[/bold]")
    assert capsys.readouterr().out == "cat.png\n"
    assert "cat.png" not in stream.getvalue()
    assert "sdcli: warning: [bold]cut off[/bold]" in stream.getvalue()


def test_documents_are_single_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    result = make_result(prompt="a\n\x1b[31m猫", seconds={"encode": 0.123456})
    image = image_document(SavedImage(path="a.png", result=result))
    error = ModelError("gone", code="model.not_found")
    for document in (
        image,
        step_document(step(1)),
        error_document(error),
        run_document([image], [(error, ())]),
    ):
        print_json_line(document)
    lines = capsys.readouterr().out.splitlines()
    documents = [json.loads(line) for line in lines]
    assert [d["schema"] for d in documents] == [
        "sdcli/image/1", "sdcli/step/1", "sdcli/error/1", "sdcli/run/1",
    ]  # fmt: skip
    assert documents[0]["prompt"] == "a\n\x1b[31m猫"
    assert documents[2]["error"] == {"code": "model.not_found", "message": "gone", "hint": None}
    assert documents[3]["images"] == [documents[0]]
    assert "\x1b" not in "".join(lines)
