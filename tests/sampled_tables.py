"""Run a few members of the long tables of tests, drawn by a seed, or all of them.

A plugin of the suite. `@pytest.mark.sample(8)` says that eight members of a parametrized test are
enough for each run. TEST_SEED draws others, and TEST_ALL=1 (`make test-all`) runs every one.
"""

from __future__ import annotations

import os
from collections import defaultdict
from random import Random

import pytest

SEED = os.environ.get("TEST_SEED", "1")
RUNS_ALL = os.environ.get("TEST_ALL", "") not in ("", "0")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the members that are not drawn; one that is asked for by its name runs."""
    if RUNS_ALL:
        return
    tables = defaultdict(list)
    for item in items:
        if item.get_closest_marker("sample"):
            tables[item.nodeid.partition("[")[0]].append(item)
    left_out = [item for name, members in tables.items() for item in _not_drawn(name, members)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        gone = set(left_out)
        items[:] = [item for item in items if item not in gone]


def pytest_report_header() -> str:
    """Say how many members run, and how to run the others."""
    which = "every member" if RUNS_ALL else f"a sample, TEST_SEED={SEED} (TEST_ALL=1: every member)"
    return f"long tables: {which}"


def _not_drawn(name: str, members: list[pytest.Item]) -> list[pytest.Item]:
    mark = members[0].get_closest_marker("sample")
    assert mark is not None
    number = min(mark.args[0], len(members))
    # Every process of the suite draws the same.
    drawn = set(Random(f"{SEED} {name}").sample(range(len(members)), number))
    return [item for index, item in enumerate(members) if index not in drawn]
