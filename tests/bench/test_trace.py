"""The scenario that times a traced run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sdcli.bench.measure import BenchCommand, Timing, measure
from sdcli.bench.trace import STEPS, describe_trace, trace_commands

# Which also puts this file among the first.
pytestmark = pytest.mark.timeout(600)


def with_steps(command: BenchCommand, steps: int) -> BenchCommand:
    *argv, args = command.argv
    shorter = json.dumps({**json.loads(args), "steps": steps})
    return BenchCommand(name=command.name, argv=[*argv, shorter])


def test_a_traced_run_is_the_same_run(tmp_path: Path) -> None:
    plain, traced, longer, attention = trace_commands(str(tmp_path))
    assert json.loads(longer.argv[-1])["steps"] == STEPS[1]
    runs = [
        json.loads(measure([with_steps(command, 1)], rounds=1, uncounted=0)[0].stdout[0])
        for command in (plain, traced, attention)
    ]
    assert len({run["pixels_sha256"] for run in runs}) == 1
    assert all(run["cpu"] > 0 and run["peak_gb"] > 0 for run in runs)
    assert [path.name for path in tmp_path.iterdir()] == ["few"]
    assert (tmp_path / "few" / "trace.json").is_file()


def test_the_document_compares_cpu_seconds() -> None:
    timings = [
        Timing(
            name=name,
            seconds=[9.0, 9.0],
            stdout=[
                json.dumps({"cpu": x * cpu, "peak_gb": 0.5, "pixels_sha256": "a"}) for x in (1, 2)
            ],
        )
        for name, cpu in (("plain", 2.0), ("traced", 2.5), ("longer", 9.0), ("attention", 2.2))
    ]
    document = describe_trace(timings)
    assert (document["cpu_ratio"], document["attention_ratio"]) == (1.25, 1.1)
    assert document["same_pixels"]
    assert document["contestants"][2]["split"] == {"cpu": 13.5, "peak_gb": 0.5}
