"""Images in a store behind a URL: every image once, whatever fails, and nobody's object lost."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry, known_implementations

from sdcli.errors import OutputError, SdcliError, UsageError
from sdcli.job import Job
from sdcli.runner.options import RunOptions
from sdcli.runner.writer import ResultWriter
from sdcli.shard import Shard
from sdcli.storage.images.destination import parse_remote_destination
from sdcli.storage.jobs import remote_journal
from sdcli.storage.jobs.store import JobStore
from sdcli.storage.remote_store import RemoteStore
from tests.jobs import make_job, make_result

JOBS = [make_job(index=i, prompt=f"a cat {i}", seed=i, width=8, height=8) for i in range(4)]
NAMES = [f"000{i + 1}-a-cat-{i}-{i}.png" for i in range(4)]
URL = "memory://tests/run"


class FailingStore(MemoryFileSystem):
    """A store that takes so many objects, and then none."""

    protocol = "failing"
    store: ClassVar[dict[str, object]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    puts_left = 0

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        if not FailingStore.puts_left:
            raise RuntimeError("the bucket is gone\nwith a second line")
        FailingStore.puts_left -= 1
        return super().pipe_file(path, value, mode=mode, **kwargs)


fsspec.register_implementation("failing", FailingStore, clobber=True)


@pytest.fixture(autouse=True)
def _empty_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for store in (MemoryFileSystem, FailingStore):
        store.store.clear()
        store.pseudo_dirs[:] = [""]


@contextmanager
def opened(url: str = URL, **options: object) -> Iterator[ResultWriter]:
    values = {"expected_images": None, "journal": True, **options}
    writer = ResultWriter(RunOptions(out=url, **values))  # type: ignore[arg-type]
    try:
        with writer.latents:
            yield writer
    finally:
        writer.close()


def save(writer: ResultWriter, job: Job) -> str:
    result = make_result(**job.field_values())
    writer.latents.begin_image(result.run)
    return writer.save(result)[0].path


def make(url: str = URL, **options: object) -> list[str]:
    """Make what is missing; returns the URLs of what was made."""
    with opened(url, **options) as writer:
        assert writer.jobs
        return [save(writer, job) for job in writer.jobs.take_pending(JOBS)]


def objects(url: str = URL) -> dict[str, bytes]:
    store = RemoteStore(url)
    return {name: store.get(name) for name in store.sizes()}


def lines(url: str = URL) -> list[dict[str, object]]:
    store = RemoteStore(f"{url}/{remote_journal.FOLDER}")
    return [json.loads(line) for name in store.sizes() for line in store.get(name).splitlines()]


def images_in_journal(url: str = URL) -> list[object]:
    return sorted(str(line["name"]) for line in lines(url) if line["event"] == "image")


def test_objects_are_the_files_of_a_folder(tmp_path):
    make(str(tmp_path / "out"), sidecar=True)
    assert make(sidecar=True) == [f"{URL}/{name}" for name in NAMES]
    files = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    journal = files.pop("sdcli-journal.jsonl")
    assert objects() == files
    keys = ("job", "occurrence", "sha256", "pixels_sha256", "beside")
    here = [json.loads(line) for line in journal.splitlines()][1:]
    there = [line for line in lines() if line["event"] == "image"]
    assert [[line[key] for key in keys] for line in there] == [
        [line[key] for key in keys] for line in here
    ]
    # Nothing is left on this machine.
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_second_run_makes_what_is_missing():
    make()
    assert make() == []
    fsspec.filesystem("memory").rm(f"/tests/run/{NAMES[1]}")
    fsspec.filesystem("memory").pipe_file(f"/tests/run/{NAMES[2]}", b"altered")
    made = make()
    # What somebody has altered stays, and the image gets another name.
    assert made[0] == f"{URL}/{NAMES[1]}"
    assert made[1].startswith(f"{URL}/{NAMES[2].removesuffix('.png')}-")
    assert objects()[NAMES[2]] == b"altered"
    assert make() == []


def test_a_lost_companion_makes_its_job_pending():
    make(sidecar=True)
    fsspec.filesystem("memory").rm(f"/tests/run/{NAMES[3]}".replace(".png", ".json"))
    assert make(sidecar=True) == [f"{URL}/{NAMES[3]}"]


@pytest.mark.parametrize("puts", range(13))
def test_a_store_that_fails_at_any_object_loses_and_repeats_nothing(puts, tmp_path):
    url = "failing://bucket/run"
    FailingStore.puts_left = puts
    with pytest.raises(OutputError) as caught:
        make(url, sidecar=True)
    assert caught.value.message.endswith("the bucket is gone")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    FailingStore.puts_left = 100
    make(url, sidecar=True)
    assert [name for name in objects(url) if name.endswith(".png")] == NAMES
    assert len(objects(url)) == 8
    assert images_in_journal(url) == NAMES
    assert make(url, sidecar=True) == []


def test_an_image_whose_line_is_missing_is_not_made_again():
    make()
    fsspec.filesystem("memory").rm("/tests/run/sdcli-journal", recursive=True)
    assert make() == []
    assert images_in_journal() == NAMES


def test_objects_of_others_stay():
    fsspec.filesystem("memory").pipe_file(f"/tests/run/{NAMES[0]}", b"mine")
    fsspec.filesystem("memory").pipe_file(f"/tests/run/{NAMES[1][:-4]}.json", b"{}")
    made = make()
    assert [url.endswith(name) for url, name in zip(made, NAMES, strict=True)] == [
        False,
        False,
        True,
        True,
    ]
    assert objects()[NAMES[0]] == b"mine"
    assert make(force=True) == []


def test_shards_write_at_the_same_time():
    ranks = [Shard(rank=rank, world_size=2) for rank in (0, 1)]
    with opened(shard=ranks[0]) as first, opened(shard=ranks[1]) as second:
        assert first.jobs
        assert second.jobs
        mine, other = first.jobs.take_pending(JOBS), second.jobs.take_pending(JOBS)
        for one, two in zip(mine, other, strict=True):
            save(first, one)
            save(second, two)
        # Each reads the lines of the other when it looks at a job.
        assert first.jobs.find_outcome(other[0]) is not None
    assert images_in_journal() == NAMES
    assert make() == []


def test_drawn_seeds_are_the_same_in_every_run():
    def draw() -> list[int]:
        store = JobStore(parse_remote_destination(URL, force=False))
        try:
            return [store.draw_seed(job) for job in JOBS]
        finally:
            store.close()

    assert draw() == draw()
    assert len([line for line in lines() if line["event"] == "opened"]) == 1


def test_a_long_journal_has_several_objects(monkeypatch):
    monkeypatch.setattr(remote_journal, "_MOST_BYTES", 700)
    make()
    assert len(RemoteStore(f"{URL}/{remote_journal.FOLDER}").sizes()) > 1
    assert images_in_journal() == NAMES
    assert make() == []


def test_hostile_lines_of_a_journal_are_no_harm():
    text = b'{"event": "image", "job": "a", "occurrence": 0, "name": "../x", "size": 1}\n[1]\n\x00'
    fsspec.filesystem("memory").pipe_file("/tests/run/sdcli-journal/0.jsonl", text)
    assert len(make()) == 4


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("s3://bucket/run", UsageError, "s3:// needs the package s3fs"),
        ("gs://bucket/run", UsageError, "gs:// needs the package gcsfs"),
        ("nothing://x/y", UsageError, "nothing:// is not a known kind of store"),
        ("memory://", UsageError, "no folder is named"),
        ("memory://x/cat.gif", UsageError, "unsupported output format .gif"),
        ("dir::file:///dev/null/run", OutputError, "Not a directory"),
        ("dir::file:///proc/run", OutputError, "/proc/run"),
    ],
)
def test_places_that_can_not_be_written_to(url, error, message):
    with pytest.raises(SdcliError) as caught, opened(url):
        pass
    assert isinstance(caught.value, error)
    assert message in caught.value.message
    assert "\n" not in caught.value.message


# They look for their server, or warn.
LEFT_OUT = {"ftp", "hf", "webhdfs", "dbfs", "arrow_hdfs"}
LOCAL = {"file", "local", "memory"}


def test_each_store_that_fsspec_knows_has_a_plain_sentence():
    for protocol in {*known_implementations} - LEFT_OUT - LOCAL:
        with pytest.raises(UsageError) as caught:
            RemoteStore(f"{protocol}://host/run").put("a", b"")
        assert re.fullmatch(
            rf"--out {protocol}://host/run: {protocol}:// (can be read, but not written to|"
            rf"needs the package [a-z0-9-]+)"
            rf"|--out {protocol}://host/run: fsspec can't write to {protocol}:// by the URL alone",
            caught.value.message,
        )


class Buckets(MemoryFileSystem):
    """A store whose folders are buckets."""

    protocol = "tos"

    def makedirs(self, path, exist_ok=False):
        raise AssertionError(f"{path} was created")


def test_no_bucket_is_created(monkeypatch):
    monkeypatch.setitem(_registry, "tos", Buckets)
    RemoteStore("tos://bucket/run").put("a/b", b"c")
    assert RemoteStore("tos://bucket/run").get("a/b") == b"c"


def test_a_series_has_the_format_of_its_name():
    made = make(f"{URL}/cat.jpg")
    assert made[0] == f"{URL}/cat-0001.jpg"
    assert objects()["cat-0001.jpg"].startswith(b"\xff\xd8")


LOUD = """
import logging
import fsspec
from fsspec.implementations.memory import MemoryFileSystem
from sdcli.storage.remote_store import RemoteStore

class LoudStore(MemoryFileSystem):
    protocol = "loud"
    __module__ = "loud.core"
    def pipe_file(self, *args, **options):
        logging.getLogger("loud.core").warning("a token is missing")
        super().pipe_file(*args, **options)

fsspec.register_implementation("loud", LoudStore)
RemoteStore("loud://tests/run").put("x", b"x")
logging.getLogger("another").warning("shown")
"""


def test_what_the_package_of_a_store_logs_is_not_printed() -> None:
    ran = subprocess.run([sys.executable, "-c", LOUD], capture_output=True, text=True, check=True)
    assert ran.stderr == "shown\n"
