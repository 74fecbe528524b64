"""The part of the suite that a run takes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import sampled_tables

FILE = "cli/test_workers"


def test_the_files_that_are_halved_are_there() -> None:
    folder = Path(__file__).parent
    missing = [name for name in sampled_tables._HALVED if not (folder / f"{name}.py").is_file()]
    assert missing == []


def test_a_few_draws_run_every_test_and_each_with_all_of_its_members(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tests = [f"test_{letter}" for letter in "abcde"]
    members = [f"{test}[{number}]" for test in tests for number in (1, 2)]
    items: Any = [SimpleNamespace(nodeid=f"tests/{FILE}.py::{name}") for name in members]
    others: Any = [SimpleNamespace(nodeid="tests/test_shard.py::test_a")]
    run: set[str] = set()
    for seed in range(20):
        monkeypatch.setenv("TEST_SEED", str(seed))
        left_out: Any = sampled_tables._other_halves(items + others)
        names = {item.nodeid.partition("[")[0] for item in left_out}
        assert (len(names), len(left_out)) == (2, 4)
        run |= {item.nodeid for item in items} - {item.nodeid for item in left_out}
    assert run == {item.nodeid for item in items}
