"""Signals of any moment of a start: one line, exit code 130, nothing that was half imported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from sdcli import signals

PROGRAM = [sys.executable, "-m", "sdcli"]
PROMPT = ["generate", "a cat", "--steps", "900"]
"""A run that is far from its end when the last signal is sent."""

LINE = "sdcli: error: interrupted"


def start(*argv: str, cwd: Path) -> subprocess.Popen[str]:
    def as_in_a_terminal() -> None:
        # A test runner in the background of a shell ignores Ctrl-C, and so would its children.
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        argv, cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=as_in_a_terminal,
    )  # fmt: skip


def is_python_s_own(stderr: str, number: int, code: int) -> bool:
    """Whether the signal came before any line of sdcli ran: the interpreter ends by itself."""
    has_run = f"{os.sep}sdcli{os.sep}" in stderr or "sdcli:" in stderr
    return code in (-number, 1) and not has_run


DELAYS = [*(i / 40 for i in range(20)), *(0.5 + i / 4 for i in range(15))]


@pytest.mark.sample(2)
@pytest.mark.parametrize("i", range(len(DELAYS)))
def test_a_signal_at_any_moment_of_a_start_is_one_line_and_130(i: int, tmp_path: Path) -> None:
    number = (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)[i % 4]
    program = start(*PROGRAM, *PROMPT, cwd=tmp_path)
    with suppress(subprocess.TimeoutExpired):
        program.wait(DELAYS[i])
    program.send_signal(number)
    _, stderr = program.communicate()
    if not is_python_s_own(stderr, number, program.returncode):
        assert [line[: len(LINE)] for line in stderr.splitlines()] == [LINE]
        assert program.returncode == 130


def test_two_signals_end_a_start_immediately(tmp_path: Path) -> None:
    script = tmp_path / "slow.py"
    script.write_text("import os, signal\nfor _ in '12': os.kill(os.getpid(), signal.SIGINT)\n")
    code = "from sdcli import signals; signals.install(); signals.start(); import slow"
    program = start(sys.executable, "-c", code, cwd=tmp_path)
    assert program.communicate()[1].splitlines() == [LINE]
    assert program.returncode == 130


def test_an_import_ends_before_the_interrupt(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nwhole = sum(range(9))\n"
    )
    code = (
        "import select, sys; from sdcli import signals; signals.install(); signals.start()\n"
        "try:\n    import slow\n    select.select([], [], [])\n"
        "except KeyboardInterrupt:\n    print(sys.modules['slow'].whole)"
    )
    program = start(sys.executable, "-c", code, cwd=tmp_path)
    assert program.communicate() == ("36\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_that_the_parent_ignores_stay_ignored(number: int) -> None:
    previous = signal.signal(number, signal.SIG_IGN)
    try:
        signals.install()
        signals.start()
        signal.raise_signal(number)
        assert number not in signals.handled_numbers()
        assert not signals.was_interrupted()
    finally:
        signals.restore()
        signal.signal(number, previous)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_signal_is_counted_before_the_start_and_raised_afterwards(number: int) -> None:
    before = signal.getsignal(number)
    signal.signal(number, signal.SIG_DFL)
    try:
        signals.install()
        signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt):
            signals.start()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        signals.restore()
        assert signal.getsignal(number) == signal.SIG_DFL
        assert not signals.was_interrupted()
    finally:
        signal.signal(number, before)


def test_a_signal_of_an_earlier_run_does_not_end_the_next() -> None:
    before = signal.getsignal(signal.SIGHUP)
    with suppress(KeyboardInterrupt):
        signals.on_signal(signal.SIGHUP, None)
    assert signals.was_interrupted()
    try:
        signals.install()
        signals.start()
    finally:
        signals.restore()
    assert signal.getsignal(signal.SIGHUP) == before


def test_under_nohup_the_end_of_a_terminal_changes_nothing(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from sdcli.cli import main\n"
        "os.kill(os.getpid(), signal.SIGHUP)\n"
        "sys.exit(main(['generate', 'a cat', '--steps', '1', '-o', 'cat.png']))"
    )
    program = start("nohup", sys.executable, "-c", code, cwd=tmp_path)
    stdout, stderr = program.communicate()
    assert (program.returncode, stdout) == (0, "cat.png\n"), stderr
