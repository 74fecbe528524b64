"""Run fuzz cases: each must end with an exit code and one line of error, never with a traceback."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Final

from sdcli.cli import main
from sdcli.errors import ExitCode

Case = Callable[[], object] | bytes
"""A function that raises when it fails, or the bytes of a file for `sdcli inspect`."""

_CASES_AS_LONG: Final = {"kills": 50, "forked_kills": 10}
"""Modules whose cases take as long as so many of the others: seconds each."""

INPUT_CODES = (ExitCode.OK, ExitCode.USAGE, ExitCode.MODEL, ExitCode.CORRUPT, ExitCode.PARTIAL)
_CONTROLS = [chr(code) for code in (*range(9), *range(11, 32), 0x7F, *range(0x80, 0xA0))]


def modules() -> Iterator[ModuleType]:
    """Yield the modules of this folder that have cases."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem.startswith(("test_", "__")) or path.stem == "running":
            continue
        module = import_module(f"tests.fuzz.{path.stem}")
        if hasattr(module, "cases"):
            yield module


def short_name(module: ModuleType) -> str:
    """Return the name of a module in this folder."""
    return module.__name__.rpartition(".")[2]


def cases_of(module: ModuleType, seed: int, count: int) -> Iterator[tuple[str, Case]]:
    """Yield the cases of a module; of slow ones fewer, perhaps none.

    Cases that are not pairs of a name and a function are for the module's own `check`.
    """
    for case in module.cases(seed, count // _CASES_AS_LONG.get(short_name(module), 1)):
        yield case if isinstance(case, tuple) else (repr(case), partial(module.check, case))


def run_cases(cases: Iterable[tuple[str, Case]]) -> Iterator[tuple[str, Exception | None]]:
    """Run each case in an empty folder; yield its name and its failure, if any."""
    for name, case in cases:
        with TemporaryDirectory() as folder, chdir(folder):
            try:
                case() if callable(case) else _inspect(name, case)
            # Any exception of a case is what the fuzzing is for.
            except Exception as error:
                yield name, error
            else:
                yield name, None


def run_main(argv: list[str], codes: Collection[int] = INPUT_CODES) -> str:
    """Run a command in this process and check its end; return its stdout.

    Raises AssertionError for another exit code, for an error without a message, and for control
    characters in the output; and what `main` itself raises, for a bug.
    """
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(argv)
    message = err.getvalue()
    assert code in codes, f"exit code {code}: {message[:300]}"
    is_told = "sdcli: error: " in message or '"error":' in out.getvalue()
    assert is_told or code in (ExitCode.OK, ExitCode.PARTIAL)
    raw = [c for c in _CONTROLS if c in message or c in out.getvalue()]
    assert not raw, f"raw control characters {raw!r}"
    return out.getvalue()


def _inspect(name: str, data: bytes) -> None:
    path = Path(os.path.basename(name) or "case")
    path.write_bytes(data)
    run_main(["inspect", str(path)])
