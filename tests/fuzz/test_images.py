"""Run a few of the damaged images through the commands and functions that read images."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from sdcli.errors import CorruptError, ExitCode, UsageError
from sdcli.storage.images.embedded_text import read_embedded_text
from sdcli.storage.images.pixels import read_pixels
from tests.fuzz.images import cases, write_cases

ALLOWED = (ExitCode.OK, ExitCode.USAGE, ExitCode.CORRUPT)
SEED = 11


def test_the_cases_of_a_seed_are_always_the_same() -> None:
    assert list(cases(SEED, 20)) == list(cases(SEED, 20))
    assert list(cases(SEED, 20)) != list(cases(SEED + 1, 20))


def test_no_damaged_image_makes_a_traceback(run_cli, tmp_path: Path) -> None:
    for path in write_cases(tmp_path, SEED, 250):
        for argv in ((), ("--json",), ("--as-command",)):
            ran = run_cli("inspect", str(path), *argv)
            assert ran.code in ALLOWED, (path.name, ran.stderr)
            assert "\x1b" not in ran.stdout + ran.stderr


def test_pixels_of_a_damaged_image_are_pixels_or_an_error(tmp_path: Path) -> None:
    for path in write_cases(tmp_path, SEED + 1, 500):
        assert isinstance(read_embedded_text(path), dict)
        with suppress(CorruptError, UsageError):
            assert read_pixels(path)[0].shape[2] == 3
