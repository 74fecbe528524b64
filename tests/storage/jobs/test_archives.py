"""Archives of a folder's images: every image once, in files or in an archive, whatever happens."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sdcli.errors import NumericsError, UsageError
from sdcli.job import Job
from sdcli.result import GenerationResult
from sdcli.runner.options import RunOptions
from sdcli.runner.writer import ResultWriter
from sdcli.storage.companions import file_suffix
from sdcli.storage.images.destination import Destination
from sdcli.storage.jobs.archive_packer import Archive, ArchivePacker
from sdcli.storage.jobs.store import JobStore
from sdcli.workflows.merge_folders import merge_folders
from tests.jobs import make_job, make_result

JOBS = [make_job(index=i, prompt=f"a cat {i}", seed=i, width=8, height=8) for i in range(5)]
KILLED_AFTER = ("_write_tar", "packed", "publish", "remove_files")


@contextmanager
def opened(folder: Path, size: int = 2, **options: object) -> Iterator[ResultWriter]:
    """The writer of a run with archives of `size` images."""
    values = {"expected_images": None, "journal": True, "archive_size": size, **options}
    writer = ResultWriter(RunOptions(out=str(folder), **values))  # type: ignore[arg-type]
    try:
        yield writer
    finally:
        writer.close()


def result_of(job: Job) -> GenerationResult:
    return make_result(**job.field_values())


def jobs_of(writer: ResultWriter) -> JobStore:
    assert writer.jobs
    return writer.jobs


def packer_of(writer: ResultWriter) -> ArchivePacker:
    assert writer.packer
    return writer.packer


def save(writer: ResultWriter, job: Job) -> None:
    result = result_of(job)
    writer.latents.begin_image(result.run)
    writer.save(result)


def make(folder: Path, count: int, *, end: bool, size: int = 2) -> list[Archive]:
    """Make what is missing of the first images, and pack as a run does."""
    archives = []
    with opened(folder, size) as writer:
        for job in jobs_of(writer).take_pending(JOBS[:count]):
            save(writer, job)
            archives += packer_of(writer).pack_full()
        archives += packer_of(writer).pack_rest() if end else []
    return archives


def samples(folder: Path) -> list[tuple[str, dict[str, bytes]]]:
    """The samples of all archives, as readers group them: by the name up to the first dot."""
    found: list[tuple[str, dict[str, bytes]]] = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file
                key, _, suffix = member.name.partition(".")
                if not found or found[-1][0] != key:
                    found.append((key, {}))
                found[-1][1][suffix] = file.read()
    return found


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "sdcli-journal.jsonl")


def test_an_archive_is_written_as_soon_as_it_is_full_and_the_rest_at_the_end(tmp_path):
    out = tmp_path / "out"
    assert make(out, 3, end=False) == [Archive(str(out / "000000.tar"), 2)]
    assert names(out) == ["000000.tar", "0003-a-cat-2-2.json", "0003-a-cat-2-2.png"]
    made = make(out, 5, end=True)
    assert [(Path(path).name, images) for path, images in made] == [
        ("000001.tar", 2),
        ("000002.tar", 1),
    ]
    assert names(out) == ["000000.tar", "000001.tar", "000002.tar"]
    assert [sample["txt"].decode() for _, sample in samples(out)] == [j.prompt for j in JOBS]


def test_a_sample_has_the_bytes_of_the_files(tmp_path):
    with opened(tmp_path / "files", size=100) as writer:
        for job in JOBS[:2]:
            save(writer, job)
    make(tmp_path / "out", 2, end=False)
    for key, sample in samples(tmp_path / "out"):
        image = tmp_path / "files" / f"{key}.png"
        assert sample["png"] == image.read_bytes()
        record = json.loads(sample["json"])
        assert record == json.loads(image.with_suffix(".json").read_text())
        assert sample["txt"].decode() == record["request"]["prompt"]
        assert [*sample] == ["png", "json", "txt"]


def test_equal_runs_give_equal_archives(tmp_path):
    for name in ("a", "b"):
        make(tmp_path / name, 5, end=True)
    hashes = [
        {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (tmp_path / n).glob("*.tar")}
        for n in ("a", "b")
    ]
    assert hashes[0] == hashes[1]


def test_images_in_archives_are_done_and_listed(tmp_path):
    make(tmp_path, 5, end=True)
    with opened(tmp_path) as writer:
        sorted_jobs = jobs_of(writer).sort_jobs(JOBS)
    assert sorted_jobs.pending == []
    assert sorted_jobs.done[0].path == str(tmp_path / "000000.tar" / "0001-a-cat-0-0.png")
    assert make(tmp_path, 5, end=True) == []
    assert len(samples(tmp_path)) == 5


@pytest.mark.parametrize("change", ["delete", "alter"])
def test_images_of_a_lost_archive_are_made_again(tmp_path, change):
    make(tmp_path, 5, end=True)
    lost = tmp_path / "000001.tar"
    if change == "delete":
        lost.unlink()
    else:
        lost.write_bytes(lost.read_bytes()[:-2048] + bytes(range(256)) * 8)
    with opened(tmp_path) as writer:
        assert [job.index for job in jobs_of(writer).take_pending(JOBS)] == [2, 3]
    if change == "alter":
        lost.unlink()
    make(tmp_path, 5, end=True)
    assert Counter(sample["txt"] for _, sample in samples(tmp_path)).most_common(1)[0][1] == 1
    assert len(samples(tmp_path)) == 5


def test_without_the_option_the_folder_is_continued_with_files(tmp_path):
    make(tmp_path, 2, end=True)
    store = JobStore(Destination(kind="folder", path=tmp_path))
    assert [job.index for job in store.take_pending(JOBS)] == [2, 3, 4]
    store.close()
    with pytest.raises(UsageError, match="--redo can't replace images in archives"):
        JobStore(Destination(kind="folder", path=tmp_path), rerun="all")


def test_a_failed_image_is_packed_once_it_is_made(tmp_path):
    with opened(tmp_path) as writer:
        first, *others = jobs_of(writer).take_pending(JOBS[:3])
        jobs_of(writer).record_failure([first], NumericsError("NaN", code="numerics.unet"))
        for job in others:
            save(writer, job)
        assert [archive.images for archive in packer_of(writer).pack_rest()] == [2]
    with opened(tmp_path, rerun="failed") as writer:
        save(writer, *jobs_of(writer).take_pending(JOBS[:3]))
        assert [archive.images for archive in packer_of(writer).pack_rest()] == [1]
    assert len(samples(tmp_path)) == 3


def test_images_of_before_are_packed_by_their_own_records(tmp_path):
    with opened(tmp_path, archive_size=None) as writer:
        save(writer, JOBS[0])
    with opened(tmp_path, archive_size=None, metadata=False) as writer:
        save(writer, JOBS[1])
    make(tmp_path, 3, end=True)
    assert [sample["txt"].decode() for _, sample in samples(tmp_path)] == ["a cat 0", "a cat 2"]
    assert "0002-a-cat-1-1.png" in names(tmp_path)  # nothing says how it was made


def test_files_of_others_stay(tmp_path):
    with opened(tmp_path) as writer:
        save(writer, JOBS[0])
        (tmp_path / "0001-a-cat-0-0.txt").write_text("mine")
        (tmp_path / "000000.tar").write_text("mine")
        (tmp_path / "other.png").write_text("mine")
        packer_of(writer).pack_rest()
    assert names(tmp_path) == ["000000.tar", "000001.tar", "0001-a-cat-0-0.txt", "other.png"]
    assert (tmp_path / "000000.tar").read_text() == "mine"


def test_keys_have_no_dot_and_are_unique_in_an_archive(tmp_path):
    jobs = [replace(job, name=name) for job, name in zip(JOBS, ("a.b", "a_b", "c"), strict=False)]
    with opened(tmp_path, size=3, save_latents=None) as writer:
        for job in jobs:
            save(writer, job)
        packer_of(writer).pack_full()
    assert [key for key, _ in samples(tmp_path)] == ["a_b", "a_b-2", "c"]


def test_the_suffix_of_latents_has_a_dot():
    assert file_suffix("a.b.latents.safetensors") == ".latents.safetensors"
    assert file_suffix("a.b.json") == ".json"
    assert file_suffix("a.b.webp") == ".webp"


def test_the_rest_waits_for_other_processes(tmp_path):
    with opened(tmp_path, size=4) as mine, opened(tmp_path, size=4) as other:
        save(mine, JOBS[0])
        [job] = jobs_of(other).take_pending(JOBS[1:2])
        jobs_of(other).lease([job])
        save(other, job)
        jobs_of(other).release([job])
        assert [archive.images for archive in packer_of(other).pack_rest()] == [2]
    assert len(samples(tmp_path)) == 2


KILLED = """
import os, signal, sys
from pathlib import Path
from sdcli.storage import files
from sdcli.storage.jobs import archive_packer
from sdcli.storage.jobs.journal import Journal
from sdcli.storage.jobs.output_folder import OutputFolder
from tests.storage.jobs.test_archives import JOBS, opened, save

folder, point = Path(sys.argv[1]), sys.argv[2]
owner = {"_write_tar": archive_packer, "packed": Journal, "publish": files}.get(point, OutputFolder)
function = getattr(owner, point)

def killed(*args, **options):
    function(*args, **options)
    os.kill(os.getpid(), signal.SIGKILL)

with opened(folder) as writer:
    for job in writer.jobs.take_pending(JOBS):
        save(writer, job)
    setattr(owner, point, killed)
    writer.packer.pack_full()
"""


@pytest.mark.parametrize("point", KILLED_AFTER)
def test_a_process_killed_while_it_packs_loses_and_repeats_nothing(tmp_path, point):
    ran = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), point],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == -9, ran.stderr
    with opened(tmp_path) as writer:
        assert jobs_of(writer).take_pending(JOBS) == []
        archives = packer_of(writer).pack_rest()
    assert sum(archive.images for archive in archives) == (3 if point in KILLED_AFTER[2:] else 5)
    assert sorted(sample["txt"].decode() for _, sample in samples(tmp_path)) == [
        job.prompt for job in JOBS
    ]
    assert all(name.endswith(".tar") for name in names(tmp_path))


def test_a_merge_reads_archives(tmp_path):
    make(tmp_path / "a", 3, end=True)
    with opened(tmp_path / "b", archive_size=None) as writer:
        for job in jobs_of(writer).take_pending(JOBS)[2:]:
            save(writer, job)
    merged = merge_folders([tmp_path / "a", tmp_path / "b"], tmp_path / "all", pytest.fail)
    assert [(f.copied, f.present, f.lost) for f in merged.folders] == [(3, 0, 0), (2, 1, 0)]
    assert len(names(tmp_path / "all")) == 8  # three with a sidecar
    assert [archive.images for archive in make(tmp_path / "all", 5, end=True)] == [2, 2, 1]
    again = merge_folders([tmp_path / "a", tmp_path / "b"], tmp_path / "all", pytest.fail)
    assert [folder.present for folder in again.folders] == [3, 3]


HOSTILE = (
    '{"event": "archive", "name": "../x.tar", "sha256": "", "samples": [["J", 0, "k"]]}',
    '{"event": "archive", "name": "x.tar", "sha256": "", "samples": [["J", 0, "../k"]]}',
    '{"event": "archive", "name": "x.tar", "sha256": 1, "samples": [["J", 0, "k"]]}',
    '{"event": "archive", "name": "x.tar", "sha256": "", "samples": [["J", "x", "k"], 3]}',
    '{"event": "archive", "name": "x.tar", "sha256": "", "samples": 7}',
    '{"event": "archive"}',
)


@pytest.mark.parametrize("line", HOSTILE)
def test_forged_lines_of_archives_hide_no_image(tmp_path, line):
    with opened(tmp_path / "a") as writer:
        save(writer, JOBS[0])
    journal = tmp_path / "a" / "sdcli-journal.jsonl"
    text = journal.read_text() + line.replace("J", JOBS[0].id) + "\n"
    journal.write_text(text)
    with opened(tmp_path / "a") as writer:
        assert jobs_of(writer).take_pending(JOBS[:1]) == []
    merged = merge_folders([tmp_path / "a"], tmp_path / "all", pytest.fail)
    assert merged.folders[0].copied == 1
