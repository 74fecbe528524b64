"""Dry runs on stdout, for people and for programs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sdcli.terminal.dry_run_report import print_dry_run

JOB = {
    "index": 0,
    "prompt": "a cat\nand a dog",
    "done": False,
    "width": 64,
    "height": 32,
    "num_inference_steps": 4,
    "scheduler": "DDIM",
    "guidance_scale": 3.0,
    "guidance_schedule": None,
    "seed": None,
}
TOTALS = {
    "images": 3,
    "done": 1,
    "groups": 2,
    "models": ["embedded"],
    "model_loads": 1,
    "disk_bytes": 123_456,
    "seconds": 61.0,
    "timed_images": 1,
}


def read_facts(capsys: pytest.CaptureFixture[str], **changes: Any) -> dict[str, str]:
    print_dry_run([], lambda: TOTALS | changes, "paths")
    lines = capsys.readouterr().out.splitlines()
    return dict(line.split(": ", 1) for line in lines)


def test_jobs_are_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [lambda: JOB, lambda: JOB | {"index": 1, "done": True, "seed": 7}]
    print_dry_run(jobs, lambda: TOTALS, "paths", verbose=True)
    first, second = capsys.readouterr().out.splitlines()[-2:]
    assert first.startswith("0001  64x32  4 steps  DDIM  guidance 3  seed random  a cat")
    assert second.startswith("0002  done  64x32  4 steps  DDIM  guidance 3  seed 7  a cat")


def test_totals_have_units(capsys: pytest.CaptureFixture[str]) -> None:
    facts = read_facts(capsys)
    assert facts["images"] == "3, 1 done"
    assert facts["disk"] == "about 123 kB"
    assert facts["model loads"] == "1 (embedded)"
    assert facts["time"].startswith("about 0:01:01")
    assert facts["time"].endswith("plus 1 image whose time is unknown")


@pytest.mark.parametrize(
    ("changes", "time"),
    [
        ({"seconds": None}, "unknown; generate the first two to know: --limit 2"),
        ({"done": 3}, "none, everything is done"),
        ({"images": 0, "done": 0}, "none"),
    ],
)
def test_times_may_be_unknown(
    changes: dict[str, Any], time: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_facts(capsys, **changes)["time"] == time


def test_json_is_one_document_and_jsonl_one_line_per_job(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_dry_run([lambda: JOB, lambda: JOB], lambda: TOTALS, "json")
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["jobs"]) == ("sdcli/plan/1", [JOB, JOB])
    print_dry_run([lambda: JOB, lambda: JOB], lambda: TOTALS, "jsonl")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["schema"] for line in lines] == ["sdcli/job/1", "sdcli/job/1", "sdcli/plan/1"]
    assert lines[-1]["images"] == 3
