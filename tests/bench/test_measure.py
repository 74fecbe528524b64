"""Timing commands in new processes."""

from __future__ import annotations

import sys

import pytest

from sdcli.bench.measure import (
    BenchCommand,
    Timing,
    installed_script,
    measure,
    python_command,
    sdcli_command,
)
from sdcli.errors import SdcliError


def test_commands_take_turns_and_the_first_round_is_not_counted(tmp_path):
    log = tmp_path / "log"
    script = f"import sys; open({str(log)!r}, 'a').write(sys.argv[1]); print(input())"
    commands = [
        BenchCommand(name=name, argv=python_command("-c", script, name), stdin=f"for {name}")
        for name in ("a", "b")
    ]
    first, second = measure(commands, rounds=2)
    assert log.read_text() == "ababab"
    assert (first.stdout, second.stdout) == (["for a\n"] * 2, ["for b\n"] * 2)
    assert len(first.seconds) == len(second.seconds) == 2
    assert all(seconds > 0 for seconds in first.seconds)


def test_the_exit_code_is_checked():
    failing = BenchCommand(name="failing", argv=python_command("-c", "raise SystemExit('reason')"))
    with pytest.raises(SdcliError, match="failing failed with exit code 1: reason") as caught:
        measure([failing], rounds=1)
    assert caught.value.code == "bench.failed"


def test_another_exit_code_can_be_expected():
    command = BenchCommand(name="x", argv=python_command("-c", "raise SystemExit(2)"), exit_code=2)
    [timing] = measure([command], rounds=1)
    assert timing.stdout == [""]


def test_commands_do_not_use_the_network():
    script = "import os; print(os.environ['HF_HUB_OFFLINE'])"
    [timing] = measure([BenchCommand(name="x", argv=python_command("-c", script))], rounds=1)
    assert timing.stdout == ["1\n"]


@pytest.mark.parametrize(
    ("settings", "variable", "expected"),
    [("warm = true", None, "0"), ("", "1", "0"), ("", None, "None")],
)
def test_commands_do_not_use_the_worker(settings, variable, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if settings:
        (tmp_path / "sdcli.toml").write_text(settings)
    if variable:
        monkeypatch.setenv("SDCLI_WARM", variable)
    script = "import os; print(os.environ.get('SDCLI_WARM'))"
    [timing] = measure([BenchCommand(name="x", argv=python_command("-c", script))], rounds=1)
    assert timing.stdout == [f"{expected}\n"]


def test_a_ratio_compares_the_runs_of_each_round():
    baseline = Timing(name="a", seconds=[1.0, 2.0, 4.0])
    slower = Timing(name="b", seconds=[2.0, 6.0, 4.0])
    assert baseline.median == 2.0
    assert slower.ratio(baseline) == 2.0
    assert baseline.ratio(baseline) == 1.0


def test_the_commands_run_this_installation():
    assert python_command("-c", "x") == [sys.executable, "-c", "x"]
    assert sdcli_command("--help")[1:] == ["-m", "sdcli", "--help"]


def test_a_script_is_looked_up_beside_the_interpreter():
    assert installed_script("no-such-script") is None
