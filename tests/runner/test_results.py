"""Handling results: saved as they come, reported in the order of their jobs, and counted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sdcli.errors import ExitCode, ModelError, NumericsError
from sdcli.result import JobFailure, SortedJobs
from sdcli.runner.options import RunOptions
from sdcli.runner.results import ResultHandler
from sdcli.runner.writer import ResultWriter
from sdcli.terminal.console import Console
from sdcli.terminal.progress import ProgressBar
from sdcli.terminal.reports import make_report
from tests.jobs import make_job, make_result

JOBS = [make_job(index=i, prompt=f"a cat {i}", width=8, height=8, seed=i) for i in range(4)]
NAN = NumericsError("NaN", code="numerics.vae")


@pytest.fixture
def results(tmp_path: Path) -> Iterator[ResultHandler]:
    options = RunOptions(out=str(tmp_path), expected_images=len(JOBS), journal=True, report="jsonl")
    writer = ResultWriter(options)
    report = make_report("jsonl", Console())
    yield ResultHandler(
        writer=writer, report=report, progress=ProgressBar(None, None), warn=Console().warn
    )
    writer.close()


def handle(results: ResultHandler, *indices: int) -> None:
    for index in indices:
        result = make_result(**JOBS[index].field_values())
        results.writer.latents.begin_image(result.run)
        results.handle(result)


def read_indices(capsys: pytest.CaptureFixture[str]) -> list[Any]:
    events = map(json.loads, capsys.readouterr().out.splitlines())
    return [event.get("index", event.get("indices")) for event in events]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_images_are_reported_in_the_expected_order(
    order: Sequence[int], results: ResultHandler, capsys: pytest.CaptureFixture[str]
) -> None:
    results.expect(SortedJobs(pending=JOBS))
    handle(results, *order)
    assert read_indices(capsys) == [0, 1, 2, 3]
    assert results.counts() == {"made": 4, "skipped": 0, "failed": 0}
    assert results.exit_code() == ExitCode.OK


def test_images_that_were_not_expected_are_reported_immediately(
    results: ResultHandler, capsys: pytest.CaptureFixture[str]
) -> None:
    handle(results, 2, 0)
    assert read_indices(capsys) == [2, 0]


def test_failed_and_skipped_jobs_let_later_ones_be_reported(
    results: ResultHandler, capsys: pytest.CaptureFixture[str]
) -> None:
    results.expect(SortedJobs(pending=JOBS))
    handle(results, 3, 2)
    results.skip(JOBS[:1])
    assert read_indices(capsys) == []
    results.handle(JobFailure(jobs=(JOBS[1],), error=NAN))
    assert read_indices(capsys) == [[1], 2, 3]
    assert results.exit_code() == ExitCode.PARTIAL
    assert results.summary() == "2 images made, 1 failed"


def test_at_the_end_everything_is_reported(
    results: ResultHandler, capsys: pytest.CaptureFixture[str]
) -> None:
    results.expect(SortedJobs(pending=JOBS))
    handle(results, 3, 1)
    results.flush()
    assert read_indices(capsys) == [1, 3]


def test_when_nothing_was_made_the_first_failure_decides_the_exit_code(
    results: ResultHandler,
) -> None:
    results.handle(JobFailure(jobs=tuple(JOBS[:2]), error=NAN))
    results.handle(
        JobFailure(jobs=tuple(JOBS[2:]), error=ModelError("gone", code="model.not_found"))
    )
    assert results.exit_code() == ExitCode.NUMERICS
    assert results.counts()["failed"] == 4


def test_an_interrupted_run_says_how_to_continue(
    results: ResultHandler, capsys: pytest.CaptureFixture[str]
) -> None:
    handle(results, 0)
    results.abort(KeyboardInterrupt())
    error = json.loads(capsys.readouterr().out.splitlines()[-1])["error"]
    assert error["message"] == "interrupted; 1 image is finished"
    assert error["hint"] == "run the same command again to continue"
    assert results.exit_code() == ExitCode.INTERRUPTED
