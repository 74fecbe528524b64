"""Reports of a run on stdout: paths, one JSON document, or JSON lines."""

from __future__ import annotations

import json

import pytest

from sdcli.errors import ExitCode, ModelError, UsageError, UsageErrors
from sdcli.result import DoneImage, SavedImage, StepEvent
from sdcli.row import Row
from sdcli.terminal.console import Console
from sdcli.terminal.json_output import error_document, print_json_line
from sdcli.terminal.printing import print_document, print_images, print_path
from sdcli.terminal.reports import STEP_INTERVAL, Report, make_report
from tests.jobs import make_job, make_result

ERROR = ModelError("gone", code="model.not_found", hint="give a folder")


ROW = Row(file="a.csv", line=3, extra={"sku": "A"})
DONE = DoneImage(job=make_job(index=5, row=ROW), path="done.png", pixels_sha256="ab")


def image(path: str) -> SavedImage:
    return SavedImage(path=path, result=make_result(width=8, height=8), seconds=0.5)


def report_run(report: Report) -> None:
    report.started(2)
    report.step(StepEvent(job_indices=(0,), step=1, steps=1, timestep=1.0))
    report.add_image(report.entry(image("a.png"), None))
    report.add_image(report.done_entry(DONE))
    report.failed(ERROR, (make_job(index=1, row=ROW),))
    report.close({"made": 1, "exit_code": 9})


def test_paths_go_to_stdout_and_errors_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    report_run(make_report("paths", Console()))
    out, err = capsys.readouterr()
    assert out == "a.png\n"
    assert err == "sdcli: error: gone\nsdcli: hint: give a folder\n"


def test_an_image_on_stdout_has_no_path(capsys: pytest.CaptureFixture[str]) -> None:
    report = make_report("paths", Console())
    report.add_image(report.entry(image("-"), None))
    assert capsys.readouterr().out == ""


def test_json_is_one_document_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    report_run(make_report("json", Console()))
    [line] = capsys.readouterr().out.splitlines()
    document = json.loads(line)
    assert document["schema"] == "sdcli/run/1"
    assert [entry["path"] for entry in document["images"]] == ["a.png"]
    assert document["images"][0]["seconds"]["save"] == 0.5
    assert [error["code"] for error in document["errors"]] == ["model.not_found"]
    assert (document["made"], document["exit_code"]) == (1, 9)


def test_a_run_that_only_failed_is_its_error(capsys: pytest.CaptureFixture[str]) -> None:
    report = make_report("json", Console())
    report.failed(ERROR)
    report.close({"made": 0})
    assert json.loads(capsys.readouterr().out)["schema"] == "sdcli/error/1"


def test_json_lines_come_with_each_event(capsys: pytest.CaptureFixture[str]) -> None:
    report_run(make_report("jsonl", Console()))
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == [
        "started", "step", "image", "image", "failed", "done"
    ]  # fmt: skip
    assert events[0]["images"] == 2
    assert (events[3]["skipped"], events[3]["path"]) == (True, "done.png")
    assert events[2].keys() == events[3].keys()
    assert events[4]["indices"] == [1]
    rows = [events[3], *events[4]["rows"]]
    assert [(row["file"], row["line"], row["extra"]) for row in rows] == [
        ("a.csv", 3, {"sku": "A"})
    ] * 2


def test_images_done_before_are_listed_only_where_that_is_wanted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report_run(make_report("paths", Console(), list_done=True))
    assert capsys.readouterr().out == "a.png\ndone.png\n"
    report_run(make_report("json", Console(), list_done=True))
    document = json.loads(capsys.readouterr().out)
    assert [image["skipped"] for image in document["images"]] == [False, True]
    assert document["errors"][0]["rows"][0]["extra"] == {"sku": "A"}


def test_the_last_step_is_always_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("sdcli.terminal.reports.time.monotonic", lambda: now)
    report = make_report("jsonl", Console())
    for step in range(1, 11):
        now += STEP_INTERVAL / 4
        report.step(StepEvent(job_indices=(0,), step=step, steps=10, timestep=1.0))
    steps = [json.loads(line)["step"] for line in capsys.readouterr().out.splitlines()]
    assert steps == [1, 5, 9, 10]


def test_several_errors_are_listed_with_the_first_one_in_front() -> None:
    errors = [UsageError(f"error {i}", code=f"usage.{i}") for i in range(3)]
    document = error_document(UsageErrors(errors, total=5))
    assert document["error"]["code"] == "usage.0"
    assert [error["code"] for error in document["errors"]] == ["usage.0", "usage.1", "usage.2"]
    assert document["exit_code"] == ExitCode.USAGE


def test_numbers_that_json_does_not_have_become_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_json_line({"a": float("nan"), "b": [float("-inf"), 1.5], "c": "NaN é"})
    line = capsys.readouterr().out
    assert json.loads(line) == {"a": None, "b": [None, 1.5], "c": "NaN é"}
    assert line.isascii()


def test_documents_and_paths_print_as_text_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_document({"name": "x", "empty": None}, json=False)
    print_path("a.png", json=False)
    print_path("-", json=False)
    print_images([("b.png", {}), ("c.png", {})], json=False)
    assert capsys.readouterr().out == "name: x\na.png\nb.png\nc.png\n"
    print_path("a.png", json=True, size=3)
    print_images([("b.png", {"step": 1})], json=True)
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {"schema": "sdcli/written/1", "path": "a.png", "size": 3}
    assert second["images"] == [{"path": "b.png", "step": 1}]
