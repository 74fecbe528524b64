"""Dry runs: jobs, model loads, disk space and time, without torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sdcli.latents import LatentsSelection
from sdcli.pipeline_spec import PipelineSpec
from sdcli.prompts.sources import IterableSource
from sdcli.prompts.wildcards import Wildcards
from sdcli.request import GenerationRequest
from sdcli.runner.dry_run import DryRunTotals, FolderState, dry_run, open_folder_state
from tests.jobs import make_job
from tests.runner.conftest import CPU, RunBatch, make_request

TINY = replace(CPU, vae="tiny")
BFLOAT16 = replace(CPU, dtype="bfloat16")


def plan(
    *requests: GenerationRequest, folder: FolderState | None = None, **options: Any
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    totals = DryRunTotals()
    source = IterableSource(requests, options.pop("wildcards", None))
    jobs = dry_run(source, totals, options.get("latents"), folder or FolderState())
    return [job() for job in jobs], totals.to_dict()


@pytest.mark.parametrize(
    ("specs", "loads"),
    [
        ([CPU], 1),
        ([CPU, CPU, CPU], 1),
        ([CPU, TINY, CPU], 1),
        ([CPU, BFLOAT16], 2),
        ([CPU, BFLOAT16, CPU, BFLOAT16], 2),
    ],
)
def test_models_are_counted_as_they_would_load(specs: list[PipelineSpec], loads: int) -> None:
    _, totals = plan(*(make_request(f"a cat {i}", spec=spec) for i, spec in enumerate(specs)))
    assert totals["model_loads"] == loads
    assert totals["images"] == len(specs)


def test_jobs_are_documents_with_every_choice(tmp_path: Path) -> None:
    [job], totals = plan(make_request("a cat"))
    assert (job["prompt"], job["seed"], job["done"]) == ("a cat", 7, False)
    assert job["scheduler"]
    assert job["device"] == "cpu"
    assert not {"spec", "fingerprint", "occurrence", "id"} & job.keys()
    assert totals["seconds"] is None


def test_without_a_journal_open_seeds_and_wildcards_are_unknown() -> None:
    wildcards = Wildcards(mode="random")
    [job], _ = plan(make_request("a {red|blue} star", seed=None), wildcards=wildcards)
    assert (job["prompt"], job["seed"]) == ("a {red|blue} star", None)


def test_images_of_known_kinds_have_a_time() -> None:
    totals = DryRunTotals()
    job = make_job()
    folder = FolderState(timings={job.timing_key: 1.5})
    for each in (job, make_job(seed=8), make_job(width=512)):
        totals.add(each, None, folder.seconds)
    assert (totals.seconds, totals.timed, totals.groups) == (3.0, 2, 2)


def test_latents_take_disk_space() -> None:
    _, alone = plan(make_request("a cat"))
    _, final = plan(make_request("a cat"), latents=LatentsSelection())
    # The final latents: 4 channels of 8 x 8 in float32.
    assert final["disk_bytes"] - alone["disk_bytes"] == 4 * 8 * 8 * 4


def test_a_folder_with_a_journal_knows_what_is_done_and_how_long_it_took(
    run_batch: RunBatch, tmp_path: Path
) -> None:
    out = tmp_path / "outputs"
    run_batch([make_request("a cat")])
    before = sorted(out.iterdir())
    with open_folder_state(str(out), None) as folder:
        jobs, totals = plan(make_request("a cat"), make_request("a dog"), folder=folder)
    assert [job["done"] for job in jobs] == [True, False]
    assert (totals["done"], totals["timed_images"]) == (1, 1)
    with open_folder_state(str(out), "all") as folder:
        _, totals = plan(make_request("a cat"), folder=folder)
    assert totals["done"] == 0
    assert sorted(out.iterdir()) == before


def test_a_folder_that_does_not_exist_is_not_created(tmp_path: Path) -> None:
    with open_folder_state(str(tmp_path / "new"), None) as folder:
        assert (folder.timings, folder.jobs) == ({}, None)
    assert not (tmp_path / "new").exists()
