"""A person at a terminal of 80 columns: lines are typed into a shell or into Python."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pexpect

from tests.server.workers import warm_variables

COLUMNS = 80
ROOT = Path(__file__).parents[2]
_ESCAPE = re.compile(r"\x1b(\[[\d;?]*[A-Za-z]|[78=>]|\].*?(\x07|\x1b\\))")


@dataclass(frozen=True)
class Step:
    """A line to type, what must then be on the screen, and the exit code.

    Every line on the screen fits into it, unless the output is `wide`, as JSON for programs is. A
    message of sdcli is one line, however long.
    """

    line: str
    shows: Sequence[str] = ()
    code: int = 0
    wide: bool = False
    hides: Sequence[str] = field(default=("Traceback",))


class Session:
    """A program in a terminal; `prompt` matches its prompt, with the last exit code if it has."""

    def __init__(
        self, argv: Sequence[str], folder: Path, prompt: str, variables: Mapping[str, str]
    ) -> None:
        self._prompt = prompt
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SDCLI_")}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            environment.pop(name, None)
        beside = str(Path(sys.executable).parent)
        self._process = pexpect.spawn(
            argv[0],
            list(argv[1:]),
            cwd=str(folder),
            env=environment | {
                "HF_HUB_CACHE": str(folder / "cache"), "HOME": str(folder), "PAGER": "cat",
                "PATH": f"{beside}{os.pathsep}{environment['PATH']}", "PS1": "<$?> ",
                "PYTHONPATH": str(ROOT), "PYTHON_BASIC_REPL": "1", "TERM": "xterm",
                **variables,
            },
            encoding="utf-8",
            dimensions=(40, COLUMNS),
            echo=False,
            timeout=280,
        )  # fmt: skip
        self._process.expect(prompt)

    def type(self, line: str) -> tuple[str, int]:
        """Type a line; returns what it printed, as it stays on the screen, and its exit code."""
        self._process.sendline(line)
        self._process.expect(self._prompt)
        groups = self._process.match.groups()
        return clean(self._process.before), int(groups[0]) if groups else 0

    def close(self) -> None:
        self._process.close(force=True)


def clean(output: str) -> str:
    """The text that stays on the screen: without colours, and without what was overwritten."""
    lines = _ESCAPE.sub("", output).replace("\r\n", "\n").split("\n")
    # A progress bar writes over itself.
    return "\n".join(
        next((part for part in reversed(line.split("\r")) if part.strip()), "") for line in lines
    )


@contextmanager
def shell(folder: Path) -> Iterator[Session]:
    """A shell in the folder, whose commands share a worker."""
    with warm_variables() as variables:
        argv = ["bash", "--norc", "--noprofile", "--noediting"]
        yield Session(argv, folder, r"<(\d+)> ", variables)


def python(folder: Path) -> Session:
    """Python's prompt."""
    return Session([sys.executable, "-q"], folder, r">>> ", {})


def play(session: Session, steps: Sequence[Step]) -> None:
    """Type every line, and look at the screen."""
    try:
        for step in steps:
            screen, code = session.type(step.line)
            shown = f"$ {step.line}\n{screen}\n(exit code {code})"
            assert code == step.code, shown
            # Words that a narrow screen has on two lines are found, too.
            flat = re.sub(r"\s+", " ", screen)
            for text in step.shows:
                assert text in screen or text in flat, f"{shown}\nwithout: {text}"
            for text in step.hides:
                assert text not in screen, f"{shown}\nwith: {text}"
            lines = [line for line in screen.splitlines() if not line.startswith("sdcli: ")]
            wide = [line for line in lines if len(line) > COLUMNS]
            assert step.wide or not wide, f"{shown}\nwider than the screen: {wide}"
    finally:
        session.close()
