"""The command line through its real `main()`, in this process."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# One thread, here and in every process that a test starts: another number rounds otherwise, and a
# worker of pytest has but one core. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What a test starts need not compile the package each time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Timings of the tests' runs are nobody's estimate.
os.environ["XDG_CACHE_HOME"] = (_cache := tempfile.TemporaryDirectory(prefix="sdcli-tests-")).name

# It sets what Diffusers reads when it is imported, with which a test may come first.
import sdcli.engine  # noqa: F401
from sdcli import signals
from sdcli.cli import main

_PROGRESS = re.compile(r"sdcli: \d+/\d+ · ")

pytest_plugins = ["tests.made_again", "tests.sampled_tables"]

# A busy machine is no error.
settings.register_profile("sdcli", deadline=None)
settings.load_profile("sdcli")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files of tests that may take long first, so that no process is left with one at the end.

    Then those of many tests. It needs `--no-loadscope-reorder`.
    """
    limits: Counter[Path] = Counter()
    for item in items:
        mark = item.get_closest_marker("timeout")
        limits[item.path] = max(limits[item.path], mark.args[0] if mark else 0)
    counts = Counter(item.path for item in items)
    items.sort(key=lambda item: (-limits[item.path], -counts[item.path]))


@dataclass(frozen=True)
class Ran:
    """What a run left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def paths(self) -> list[Path]:
        return [Path(line) for line in self.stdout.splitlines()]

    @property
    def messages(self) -> str:
        """The text on stderr without the lines of progress, which only a slow machine prints."""
        lines = self.stderr.splitlines(keepends=True)
        return "".join(line for line in lines if not _PROGRESS.match(line))

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.stdout)
        return document


RunCli = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what sdcli caches out of the home folder."""
    folder = tmp_path_factory.getbasetemp() / "sdcli-cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))


@pytest.fixture(autouse=True)
def _no_signal_left() -> Iterator[None]:
    """Fail where a signal stays counted: the next error in this process would look like Ctrl-C."""
    yield
    assert not signals.was_interrupted()


@pytest.fixture
def run_cli(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> RunCli:
    """`run_cli(*argv, stdin="")` in an empty folder, which is where outputs/ appears."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))

    def run(*argv: str, stdin: str | bytes = "") -> Ran:
        capfd.readouterr()
        reader, writer = os.pipe()
        os.write(writer, stdin.encode() if isinstance(stdin, str) else stdin)
        os.close(writer)
        with os.fdopen(reader) as source, monkeypatch.context() as patch:
            patch.setattr("sys.stdin", source)
            code = main(argv)
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    return run
