"""Which command lines go to the worker."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from sdcli import cli
from sdcli.server.warm_commands import WARM_COMMANDS, is_quiet, wants_worker
from tests.conftest import RunCli

GENERATE = ["generate", "a cat"]
BATCH = ["batch", "a.txt"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([*GENERATE, "--warm"], True),
        (["generate", "--warm", "a cat"], True),
        (["--profile", "fast", *GENERATE, "--warm"], True),
        (["--profile=fast", *GENERATE, "--warm"], True),
        (["vae", "decode", "a.png", "--warm"], True),
        ([*GENERATE, "--warm", "--no-warm"], False),
        ([*GENERATE, "--no-warm", "--warm"], True),
        (GENERATE, False),
        (["generate", "--", "--warm"], False),
        ([*GENERATE, "--warm", "--help"], False),
        (["vae", "list", "--warm"], False),
        (["doctor", "--warm"], False),
        (["worker", "status"], False),
        (["--version", *GENERATE, "--warm"], False),
        (["--profile"], False),
        (["batch", "/dev/fd/63", "--warm"], False),
        (["batch", "/proc/self/fd/7", "--warm"], False),
        (["batch", "a.txt", "--workers", "2", "--warm"], False),
        (["batch", "a.txt", "--gpus=all", "--warm"], False),
        (["batch", "a.txt", "--warm"], True),
        (["--warm"], False),
        ([], False),
    ],
)
def test_on_the_command_line(
    arguments: list[str], expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert wants_worker(arguments) is expected


@pytest.mark.parametrize(
    ("variable", "file", "arguments", "expected"),
    [
        ("1", "", GENERATE, True),
        ("TRUE", "", GENERATE, True),
        ("no", "warm = true", GENERATE, False),
        ("perhaps", "warm = true", GENERATE, False),
        ("1", "", [*GENERATE, "--no-warm"], False),
        (None, "warm = true", GENERATE, True),
        (None, "warm = true", [*GENERATE, "--no-warm"], False),
        (None, "warm = true", ["doctor"], False),
        (None, "warm = 'true'", GENERATE, True),
        (None, "warm = 'yes'", GENERATE, True),
        (None, "warm = 1", GENERATE, True),
        (None, "warm = 'no'", GENERATE, False),
        (None, "warm = 'perhaps'", GENERATE, False),
        (None, "[generate]\nwarm = true", GENERATE, True),
        (None, "[batch]\nwarm = true", GENERATE, False),
        (None, "warm = true\n[generate]\nwarm = false", GENERATE, False),
        (None, '["vae decode"]\nwarm = true', ["vae", "decode", "x"], True),
        (None, "[profile.p]\nwarm = true", GENERATE, False),
        (None, "[profile.p]\nwarm = true", ["--profile", "p", *GENERATE], True),
        (None, "[profile.p.generate]\nwarm = true", ["--profile", "p", *GENERATE], True),
        ("1", "workers = 2", BATCH, False),
        ("1", "[batch]\ngpus = 'all'", BATCH, False),
        ("1", "[profile.p]\nray = 'auto'", ["--profile", "p", *BATCH], False),
        ("1", "workers = 2", GENERATE, True),
        (None, "warm = true\nwarm", GENERATE, False),
        (None, "warm = true\nprofile = 3", GENERATE, False),
        (None, "warm = true\ngenerate = 3", GENERATE, False),
    ],
)
def test_by_settings(
    variable: str | None,
    file: str,
    arguments: list[str],
    expected: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sdcli.toml").write_text(file, "utf-8")
    if variable is not None:
        monkeypatch.setenv("SDCLI_WARM", variable)
    assert wants_worker(arguments) is expected


@pytest.mark.parametrize(
    ("variable", "arguments", "expected"),
    [
        ("SDCLI_WORKERS", BATCH, False),
        ("SDCLI_GPUS", BATCH, False),
        ("SDCLI_RAY", BATCH, False),
        ("SDCLI_WORKERS", GENERATE, True),
        ("SDCLI_STEPS", BATCH, True),
        ("WORLD_SIZE", BATCH, False),
        ("WORLD_SIZE", GENERATE, False),
    ],
)
def test_a_run_of_several_processes_has_no_worker(
    variable: str,
    arguments: list[str],
    expected: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, "2")
    assert wants_worker([*arguments, "--warm"]) is expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [([], False), (["-q"], True), (["--quiet"], True), (["--", "-q"], False)],
)
def test_a_command_line_is_quiet(arguments: list[str], expected: bool) -> None:
    assert is_quiet([*GENERATE, *arguments]) is expected


def test_the_file_of_the_folder_wins_over_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    Path("sdcli").mkdir()
    Path("sdcli/sdcli.toml").write_text("warm = true")
    assert wants_worker(GENERATE)
    Path("sdcli.toml").write_text("warm = false")
    assert not wants_worker(GENERATE)


def paths(group: object, path: str = "") -> dict[str, list[str]]:
    """Every command, and its options."""
    found = {}
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        if hasattr(command, "commands"):
            found |= paths(command, f"{path}{name} ")
        else:
            found[f"{path}{name}"] = [opt for param in command.params for opt in param.opts]
    return found


def test_the_commands_that_have_the_option_are_those_that_the_worker_runs() -> None:
    commands = paths(typer.main.get_command(cli.app))
    assert {name for name, options in commands.items() if "--warm" in options} == WARM_COMMANDS


def test_a_setting_of_no_truth_is_an_error(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "sdcli.toml").write_text("warm = 'perhaps'")
    ran = run_cli(*GENERATE, "--steps", "1")
    assert ran.code == 2
    assert "warm: 'perhaps' is not true or false" in ran.stderr
