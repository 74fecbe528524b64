"""Run a part of the tests that take long, drawn by a seed, or all of them.

A plugin of the suite. `@pytest.mark.sample(8)` says that eight members of a parametrized test are
enough for each run; TEST_SEED draws others. When the whole suite runs, so does only half of each
file that takes long, and each commit draws another half, so that a few commits run all of them.
TEST_ALL=1 (`make test-all`) runs every test and member.
"""

from __future__ import annotations

import os
import subprocess
from collections import defaultdict
from pathlib import Path
from random import Random
from shutil import which

import pytest

SEED = os.environ.get("TEST_SEED", "1")
_HALVED = frozenset(
    [
        "attention/test_attention_tap",
        "attention/test_recorders",
        "checkpoints/test_mirror",
        "cli/test_archives",
        "cli/test_attention",
        "cli/test_batch",
        "cli/test_controlnet",
        "cli/test_embeddings",
        "cli/test_explain",
        "cli/test_feature_cache",
        "cli/test_gallery_browser",
        "cli/test_guidance_interval",
        "cli/test_image_batch",
        "cli/test_images",
        "cli/test_inspect_weights",
        "cli/test_ip_adapter",
        "cli/test_latents",
        "cli/test_lora",
        "cli/test_model_folders",
        "cli/test_openvino",
        "cli/test_output_places",
        "cli/test_replay",
        "cli/test_schedulers",
        "cli/test_score",
        "cli/test_shards",
        "cli/test_single_files",
        "cli/test_trace",
        "cli/test_trace_browser",
        "cli/test_train_lora",
        "cli/test_vae",
        "cli/test_workers",
        "cli/test_wrong_files",
        "cli/test_xl",
        "engine/adapters/test_feature_cache",
        "engine/adapters/test_kept_guidance",
        "engine/adapters/test_lora",
        "engine/adapters/test_perturbed_attention",
        "engine/backends/test_openvino",
        "engine/denoise/test_generate",
        "engine/denoise/test_image_runs",
        "engine/denoise/test_injection",
        "engine/denoise/test_prompt_syntax",
        "engine/denoise/test_resume",
        "engine/loading/test_pipeline",
        "engine/loading/test_single_file",
        "engine/loading/test_verified_files",
        "engine/schedulers/test_sampler_table",
        "engine/schedulers/test_schedule_check",
        "engine/test_control_oracle",
        "engine/test_ip_adapter_oracle",
        "engine/test_offload",
        "engine/xl/test_refiner",
        "engine/xl/test_xl_oracle",
        "interop/test_export",
        "library/test_notebook",
        "runner/test_pipeline_cache",
        "server/test_warm_runs",
        "storage/jobs/test_journal_index",
        "workflows/test_compare_schedulers",
    ]
)
_WHOLE_SUITE = 100
"""A run of so many files is not one of chosen ones."""

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
    if len({item.path for item in items}) >= _WHOLE_SUITE:
        left_out += _other_halves(items)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        gone = set(left_out)
        items[:] = [item for item in items if item not in gone]


def pytest_report_header() -> str:
    """Say how many members run, and how to run the others."""
    members = (
        "every member" if RUNS_ALL else f"a sample, TEST_SEED={SEED} (TEST_ALL=1: every member)"
    )
    halves = "" if RUNS_ALL else f"; long files: halves, drawn by {_half_seed()}"
    return f"long tables: {members}{halves}"


def _not_drawn(name: str, members: list[pytest.Item]) -> list[pytest.Item]:
    mark = members[0].get_closest_marker("sample")
    assert mark is not None
    number = min(mark.args[0], len(members))
    # Every process of the suite draws the same.
    drawn = set(Random(f"{SEED} {name}").sample(range(len(members)), number))
    return [item for index, item in enumerate(members) if index not in drawn]


def _half_seed() -> str:
    """TEST_SEED if it is set, otherwise the commit."""
    argv = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    # Without git or a repository, it is the same as for the tables.
    found = (
        subprocess.run(argv, capture_output=True, text=True, check=False) if which("git") else None
    )
    commit = found.stdout.strip()[:12] if found else ""
    return os.environ.get("TEST_SEED") or commit or SEED


def _other_halves(items: list[pytest.Item]) -> list[pytest.Item]:
    """The tests of long files that this commit does not draw, each with all of its members."""
    files: dict[str, dict[str, list[pytest.Item]]] = {}
    for item in items:
        file, _, test = item.nodeid.partition("[")[0].partition("::")
        if file.removeprefix("tests/").removesuffix(".py") in _HALVED:
            files.setdefault(file, {}).setdefault(test, []).append(item)
    seed, left_out = _half_seed(), []
    for file, tests in files.items():
        for test in Random(f"{seed} {file}").sample(sorted(tests), len(tests) // 2):
            left_out += tests[test]
    return left_out
