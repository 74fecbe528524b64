"""Run a few cases of every fuzz module; `make fuzz` runs them for minutes."""

from __future__ import annotations

import pytest

from tests.fuzz.__main__ import fuzz
from tests.fuzz.running import cases_of, modules, run_cases, short_name

SEED = 11
CASES = {short_name(module): list(cases_of(module, SEED, 20)) for module in modules()}


def test_there_are_modules() -> None:
    assert {"prompt_files", "settings_files", "images"} <= CASES.keys()


def test_each_module_has_a_case_however_short_the_time(capsys) -> None:
    assert fuzz(SEED, 0, None, ["prompt_files", "settings_files"]) == 0
    assert "2 cases in 1 rounds" in capsys.readouterr().out


@pytest.mark.parametrize("name", [name for name, cases in CASES.items() if cases])
def test_no_case_fails(name, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nowhere")
    failures = {case: error for case, error in run_cases(CASES[name]) if error}
    for error in failures.values():
        raise error
