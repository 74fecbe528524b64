"""Test that planning many entries gives what planning each alone gives, at a bounded cost."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER, read_defaults
from sdcli.errors import UsageError
from sdcli.job import _FIRST_DEFAULTS, _LATER_FILES, _NOT_IN_ID, Job
from sdcli.planning import resolve
from sdcli.planning.batching import PlanningWindows
from sdcli.planning.job_templates import JobTemplates
from sdcli.planning.planner import Planner
from sdcli.planning.validation import RequestValidator
from sdcli.prompts.columns import DEFAULT_COLUMNS
from sdcli.prompts.entry import PromptEntry, SourceLocation
from sdcli.prompts.entry_expander import EntryExpander
from sdcli.prompts.expansion import RequestTemplate
from sdcli.prompts.loader import ValidationReport, load_validated
from sdcli.prompts.sources import IterableSource
from sdcli.request import GenerationRequest

DEFAULTS = read_defaults(EMBEDDED_FOLDER)

PROMPTS = st.sampled_from(
    ["a cat", "", "a (red:1.2) cat", "a AND b", "é", "\0", "a <lora:embedded:flag:0.5>", 5, None]
)
ENTRY = st.fixed_dictionaries(
    {"prompt": PROMPTS},
    optional={
        "seed": st.sampled_from([1, "2", -1, -7, "1..3", True, 2**63 - 1, None, [1, 2]]),
        "negative": st.sampled_from(["", "dog", "a AND b", 7]),
        "guidance": st.sampled_from([1, 3, 3.0, "5", "1,5", [4]]),
        "steps": st.sampled_from([4, 4.0, 0, "x"]),
        "count": st.sampled_from([1, 2]),
        "size": st.sampled_from(["64x64", [64, 64], "63x64"]),
        "name": st.sampled_from(["n", "n.png", ""]),
        "stepz": st.just(3),
    },
)


def expand_all(entries: list[PromptEntry], *, alone: bool) -> list[object]:
    """Requests, or errors, of the entries of one source, each expanded `alone` or after others."""
    validator = RequestValidator()
    expander = EntryExpander(RequestTemplate(), validator)
    outcomes: list[object] = []
    for entry in entries:
        if alone:
            expander = EntryExpander(RequestTemplate(), validator)
        errors = [(error.message, error.code, error.hint) for error in expander.validate(entry)]
        expander.advance(entry)
        outcomes.append(errors)
        if not errors:
            outcomes.append((expander.count_images(entry), expander.notes(entry)))
            requests = list(expander.expand(entry))
            outcomes += [(request, request.row) for request in requests]
            outcomes += [[type(value) for value in vars(r).values()] for r in requests]
    return outcomes


@given(st.lists(ENTRY, min_size=2, max_size=6))
@settings(max_examples=25, deadline=None)
def test_entries_are_expanded_as_each_would_be_alone(rows: list[dict[str, object]]) -> None:
    entries = [
        PromptEntry(fields=row, location=SourceLocation("f.jsonl", line))
        for line, row in enumerate([*rows, *rows], 1)
    ]
    # An entry without a prompt is an error after others, and defaults alone.
    entries = [entry for entry in entries if entry.fields["prompt"] is not None]
    assert expand_all(entries, alone=False) == expand_all(entries, alone=True)


REQUEST = st.builds(
    GenerationRequest,
    prompt=st.sampled_from(["a cat", "a (red:1.2) cat", "a AND b", "é" * 80, ""]),
    negative_prompt=st.sampled_from([None, "", "dog"]),
    seed=st.sampled_from([0, 7, 2**63 - 5]),
    guidance_scale=st.sampled_from([None, 1, 3, 3.0]),
    num_inference_steps=st.sampled_from([None, 4, 9]),
    scheduler=st.sampled_from([None, "Euler", "no such"]),
    width=st.sampled_from([None, 64, 63]),
    count=st.sampled_from([1, 3]),
    prompt_syntax=st.sampled_from([None, "compel", "plain"]),
)


def jobs_of(request: GenerationRequest) -> object:
    try:
        jobs = list(resolve.resolve_jobs(request, DEFAULTS, 0, fingerprint="f"))
    except UsageError as error:
        return error.message
    return [(job, [*map(type, job.field_values().values())], job.id) for job in jobs]


@given(st.lists(REQUEST, min_size=2, max_size=5))
@settings(max_examples=25, deadline=None)
def test_remembered_settings_give_the_jobs_of_settings_resolved_anew(
    requests: list[GenerationRequest],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resolve, "_TEMPLATES", JobTemplates())
        together = [jobs_of(request) for request in [*requests, *requests]]
    alone = []
    for request in [*requests, *requests]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(resolve, "_TEMPLATES", JobTemplates())
            alone.append(jobs_of(request))
    assert together == alone


def id_of(job: Job) -> str:
    """The id as version 0.1.0 computed it: one text of all facts."""
    facts = {
        f.name: value
        for f in fields(job)
        if f.name not in _NOT_IN_ID
        and ((value := getattr(job, f.name)) != f.default or f.name in _FIRST_DEFAULTS)
    }
    if job.reads_syntax and job.prompt_syntax == "compel":
        facts["reads_syntax"] = "compel"
    facts["scheduler"] = [job.scheduler.class_name, job.scheduler.config]
    facts["dtype"] = job.spec.dtype
    if not job.fingerprint:
        facts["files"] = [job.spec.model, job.spec.vae, job.spec.variant]
        later = ((name, getattr(job.spec, name)) for name in _LATER_FILES)
        facts["files"] += [f"{name}={value}" for name, value in later if value]
    text = json.dumps(facts, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@given(REQUEST, st.sampled_from(["", "f"]), st.text(), st.booleans())
@settings(max_examples=25, deadline=None)
def test_ids_are_those_of_one_text_of_all_facts(
    request: GenerationRequest, fingerprint: str, text: str, reads_syntax: bool
) -> None:
    try:
        jobs = list(resolve.resolve_jobs(request, DEFAULTS, 0, fingerprint=fingerprint))
    except UsageError:
        return
    for job in jobs:
        edited = replace(job, prompt=text, negative_prompt=text, reads_syntax=reads_syntax)
        assert [job.id, edited.id] == [id_of(job), id_of(edited)]
        later = replace(job, prompt_2=text, refiner_at=0.5, hires="2x", image="a", strength=0.5)
        assert later.id == id_of(later)


def write_lines(path: Path, lines: int) -> Path:
    with path.open("w") as file:
        for number in range(lines):
            steps = 4 + number % 3
            file.write(f'{{"prompt": "a cat {number}", "seed": {number}, "steps": {steps}}}\n')
    return path


def test_a_file_is_read_once_and_its_settings_are_resolved_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sdcli.prompts import files

    resolved, opened = [], []
    original, original_open = resolve._first_job, files.read_entries
    monkeypatch.setattr(resolve, "_TEMPLATES", JobTemplates())
    monkeypatch.setattr(
        resolve, "_first_job", lambda *args: resolved.append(args) or original(*args)
    )
    monkeypatch.setattr(
        files, "read_entries", lambda *args: opened.append(args) or original_open(*args)
    )
    path = write_lines(tmp_path / "f.jsonl", 300)
    report = ValidationReport()
    requests = load_validated(
        [str(path)], None, RequestTemplate(), RequestValidator(), DEFAULT_COLUMNS, report
    )
    planner = Planner(lambda text: None, find_model=lambda spec: (DEFAULTS, "f"))
    jobs = list(planner.plan_lazily(requests))
    assert (len(jobs), report.images, report.good) == (300, 300, 300)
    assert len(opened) == 1
    # Three settings, once for the defaults that validation reads and once for those of the planner.
    assert len(resolved) <= 6


def peak_of(jobs: Iterator[object]) -> int:
    """The most bytes held at once while all is planned, without what the first jobs leave."""
    assert len(list(islice(jobs, 2000))) == 2000
    tracemalloc.start()
    for _ in jobs:
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_a_long_file_is_planned_in_bounded_memory(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "f.jsonl", 20_000)
    report = ValidationReport()
    requests = load_validated(
        [str(path)], None, RequestTemplate(), RequestValidator(), DEFAULT_COLUMNS, report
    )
    planner = Planner(lambda text: None, find_model=lambda spec: (DEFAULTS, "f"))
    assert peak_of(planner.plan_lazily(requests)) < 1_000_000


def test_a_request_of_a_million_images_is_planned_as_they_are_needed() -> None:
    planner = Planner(lambda text: None, find_model=lambda spec: (DEFAULTS, "f"))
    requests = [GenerationRequest(prompt="a", seed=1, count=1_000_000)]
    windows = PlanningWindows(IterableSource(requests), planner)
    first, second = windows.take(), windows.take()
    assert len(first) == len(second) < 20_000
    assert [job.index for job in first + second] == list(range(len(first) * 2))
    assert second[0].seed == first[-1].seed + 1


def test_windows_end_with_the_requests_that_have_arrived() -> None:
    planner = Planner(lambda text: None, find_model=lambda spec: (DEFAULTS, "f"))
    requests = [GenerationRequest(prompt="a", seed=n, count=2) for n in range(0, 4000, 2)]
    windows = PlanningWindows(IterableSource(requests), planner)
    assert [len(windows.take()) for _ in range(3)] == [2048, 1952, 0]
