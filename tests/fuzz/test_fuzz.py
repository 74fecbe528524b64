"""Run a few cases of every fuzz module; `make fuzz` runs them for minutes."""

from __future__ import annotations

import pytest

from tests.fuzz.running import modules, run_cases

SEED = 11
MODULES = list(modules())


def test_there_are_modules() -> None:
    assert {"prompt_files", "settings_files"} <= {m.__name__.rpartition(".")[2] for m in MODULES}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_no_case_fails(module, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nowhere")
    failures = {name: error for name, error in run_cases(module.cases(SEED, 40)) if error}
    for error in failures.values():
        raise error
