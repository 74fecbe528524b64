"""Timings: medians by kind of job, from any journal."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from sdcli.pipeline_spec import PipelineSpec
from sdcli.storage.jobs.journal import NAME
from sdcli.storage.jobs.timings import RECENT_IMAGES, known_timings
from tests.jobs import make_job

SMALL, LARGE = make_job().timing_key, make_job(width=512).timing_key


def write_journal(folder: Path, *timings: tuple[object, object]) -> None:
    lines = [json.dumps({"kind": key, "seconds": seconds}) for key, seconds in timings]
    (folder / NAME).write_text("\n".join(lines) + "\n")


def test_each_kind_of_job_has_its_median(tmp_path: Path) -> None:
    write_journal(tmp_path, (SMALL, 1.0), (LARGE, 9.0), (SMALL, 2.0), (SMALL, 50.0))
    assert known_timings(tmp_path) == {SMALL: 2.0, LARGE: 9.0}


def test_a_journal_has_no_folders_of_models_and_old_ones_are_read(tmp_path: Path) -> None:
    [path, *rest] = make_job(spec=PipelineSpec(model="/secret/mine")).timing_key
    assert path == "mine"
    write_journal(tmp_path, (["/old/mine", *rest], 4.0), (["mine", *rest], 2.0))
    assert known_timings(tmp_path) == {("mine", *rest): 3.0}
    assert make_job(spec=PipelineSpec(model="owner/name")).timing_key[0] == "name"


def test_only_recent_images_count(tmp_path: Path) -> None:
    write_journal(tmp_path, *[(SMALL, 9.0)] * 500, *[(SMALL, 1.0)] * RECENT_IMAGES)
    assert known_timings(tmp_path) == {SMALL: 1.0}


def test_without_a_journal_nothing_is_known(tmp_path: Path) -> None:
    assert known_timings(tmp_path) == {}


@given(st.lists(st.binary() | st.builds(
    lambda key, seconds: json.dumps({"kind": key, "seconds": seconds}).encode(),
    st.lists(st.none() | st.integers() | st.lists(st.integers())),
    st.floats() | st.text() | st.none(),
)))  # fmt: skip
def test_lines_of_any_content_are_skipped(lines: list[bytes]) -> None:
    with TemporaryDirectory() as folder:
        Path(folder, NAME).write_bytes(b"\n".join(lines))
        assert all(seconds > 0 for seconds in known_timings(Path(folder)).values())
