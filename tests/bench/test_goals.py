"""Goals: what is measured, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sdcli.bench import run_scenario as scenarios
from sdcli.bench.goals import GOALS, SCENARIOS, check_goals, describe_goal, markdown_table
from sdcli.bench.machine import describe_machine
from sdcli.bench.measure import Timing
from sdcli.bench.scenarios import to_document
from sdcli.errors import SdcliError
from tests.conftest import RunCli

ROWS = {
    "one": ("plain Diffusers script", "sdcli generate"),
    "warm": ("plain Diffusers script", "sdcli generate", "sdcli generate --warm"),
    "batch": ("plain script, one by one", "plain script, batches of 8", "sdcli batch"),
    "full": ("plain Diffusers script", "sdcli generate"),
    "planning": ("one line", "10000 lines of jsonl"),
    "million": ("one line", "1000000 lines of jsonl"),
    "dump": ("without", "with"),
    "preview": ("without", "with"),
    "trace": ("without", "with"),
}
"""Contestants of each scenario, of which each takes half as long as the one before it."""


def document_of(scenario: str) -> dict[str, Any]:
    timings = [
        Timing(name=name, seconds=[8 / 2**i, 16 / 2**i]) for i, name in enumerate(ROWS[scenario])
    ]
    document = to_document(scenario, timings, {name: {"peak_gb": 5.0} for name in ROWS[scenario]})
    for row in document["contestants"]:
        row |= {"lowest_psnr": 41.5, "median_psnr": 42.0, "seconds_saved": 1.0}
    return document | {"denoise_ratio": 1.04, "attention_ratio": 1.1}


DOCUMENTS = {scenario: document_of(scenario) for scenario in SCENARIOS}


def test_each_goal_is_measured_where_its_scenario_ran() -> None:
    assert {goal.scenario for goal in GOALS} == set(SCENARIOS) == set(ROWS)
    found = [(goal["measured"], goal["holds"]) for goal in check_goals(DOCUMENTS)]
    assert found == [
        (0.5, True),
        (0.25, False),
        (4.0, True),
        (0.5, True),
        (2.0, True),
        (41.5, True),
        (None, None),
        (1.0, True),
        (1.04, False),
        (1.04, False),
        (1.1, True),
        (6.0, False),
        (6.0, True),
    ]
    assert len(check_goals({"one": DOCUMENTS["one"]})) == 1


def test_a_goal_is_told_in_words_and_as_a_table() -> None:
    goals = check_goals(DOCUMENTS)
    said = list(map(describe_goal, goals))
    assert said[:3] == [
        "0.50 × (at most 0.7): holds",
        "0.25 × (at most 0.1): does not hold",
        "4.00 × (at least 2): holds",
    ]
    assert said[6] == "- (at least 2.1): not measured"
    same = document_of("full")
    same["contestants"][1]["lowest_psnr"] = None
    [likeness] = [goal for goal in check_goals({"full": same}) if goal["unit"] == "dB"]
    assert describe_goal(likeness) == "the same image (at least 40): holds"
    machine = describe_machine()
    assert machine["cores"] > 0
    table = markdown_table(goals, machine)
    assert table.startswith(f"{machine['cpu']}, {machine['cores']} cores")
    assert "| the same with --warm | 0.25 × | at most 0.1 | does not hold |\n" in table
    assert "| SD 1.5's size: speed with --backend openvino | - | at least 2.1 | not" in table


def test_an_interrupted_run_keeps_what_it_has(
    run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def run(name: str, options: Any) -> dict[str, Any]:
        if len(ran) == 2:
            raise SdcliError("no more", code="bench.failed")
        ran.append(name)
        return DOCUMENTS[name]

    monkeypatch.setattr(scenarios, "run_scenario", run)
    assert run_cli("bench", "all", "--rounds", "1", "-o", "figures").code == 1
    assert ran == ["one", "warm"]
    assert sorted(path.name for path in Path("figures").iterdir()) == ["one.json", "warm.json"]
    assert json.loads(Path("figures/warm.json").read_text()) == DOCUMENTS["warm"]


def test_all_scenarios_with_goals_are_run_once(
    run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def run(name: str, options: Any) -> dict[str, Any]:
        ran.append(name)
        return DOCUMENTS[name]

    monkeypatch.setattr(scenarios, "run_scenario", run)
    told = run_cli("bench", "one", "all", "-o", "figures")
    assert told.code == 0
    assert ran == list(SCENARIOS)
    assert "does not hold" in told.stdout
    assert Path("figures/goals.md").read_text().count("\n| ") == len(GOALS) + 1
    document = run_cli("bench", "all", "--json").document
    assert document["goals"] == json.loads(Path("figures/goals.json").read_text())["goals"]
    assert document["machine"]["versions"]["torch"]
    assert "goals" not in run_cli("bench", "one").stdout
