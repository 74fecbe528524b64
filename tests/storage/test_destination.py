"""Test that `--out` is parsed and checked before any work is done."""

from __future__ import annotations

import io
import os
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest

from sdcli.errors import OutputError, UsageError
from sdcli.storage.images.codec import FORMATS
from sdcli.storage.images.destination import parse_destination
from sdcli.storage.images.tar_stream import TarStream
from sdcli.storage.images.writer import job_file_name
from tests.jobs import make_job


@pytest.mark.parametrize("suffix", [*FORMATS, ".PNG"])
def test_an_image_suffix_means_a_file_or_a_series(tmp_path: Path, suffix: str) -> None:
    out = str(tmp_path / "new" / f"cat{suffix}")
    one = parse_destination(out, several=False, force=False)
    assert (one.kind, one.suffix, one.folder) == ("file", suffix.lower(), tmp_path / "new")
    assert parse_destination(out, several=True, force=False).kind == "numbered"
    assert (tmp_path / "new").is_dir()


@pytest.mark.parametrize("name", ["out", "run.2", "a.b.c"])
def test_any_other_name_means_a_folder(tmp_path: Path, name: str) -> None:
    destination = parse_destination(str(tmp_path / name), several=False, force=False)
    assert (destination.kind, destination.suffix) == ("folder", ".png")
    assert destination.folder == tmp_path / name
    assert destination.folder.is_dir()


def test_an_existing_folder_wins_over_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "cats.png").mkdir()
    assert parse_destination(str(tmp_path / "cats.png"), several=False, force=False).kind == (
        "folder"
    )


@pytest.mark.parametrize("suffix", [".tiff", ".avi", ".GIF", ".safetensors"])
def test_formats_that_are_not_written_are_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(UsageError, match=f"unsupported output format {suffix.lower()}"):
        parse_destination(str(tmp_path / f"a{suffix}"), several=False, force=False)
    assert os.listdir(tmp_path) == []


def test_an_existing_file_is_refused_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    out = str(tmp_path / "a.png")
    with pytest.raises(OutputError, match="exists"):
        parse_destination(out, several=False, force=False)
    assert parse_destination(out, several=False, force=True).force
    assert parse_destination(out, several=True, force=False).kind == "numbered"


@pytest.mark.parametrize(
    ("several", "archive", "json", "message"),
    [(True, False, False, "only one image"), (False, False, True, "not JSON")],
)
def test_stdout_takes_one_image_and_nothing_else(
    several: bool, archive: bool, json: bool, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        parse_destination("-", several=several, force=False, archive=archive, json=json)


def test_stdout_may_be_a_tar_but_not_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    destination = parse_destination("-", several=True, force=False, archive=True)
    assert destination.archive
    assert destination.folder == Path(tempfile.gettempdir())
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdout", terminal)
    with pytest.raises(UsageError, match="to a terminal"):
        parse_destination("-", several=False, force=False)


def test_names_of_jobs_follow_their_place_in_the_run(tmp_path: Path) -> None:
    job = make_job(index=11, prompt="A cat!", seed=3)
    folder = parse_destination(str(tmp_path), several=True, force=False)
    assert job_file_name(job, folder) == "0012-a-cat-3.png"
    series = parse_destination(str(tmp_path / "cat.webp"), several=True, force=False)
    assert job_file_name(job, series) == "cat-0012.webp"


def read_tar(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        files = {member.name: tar.extractfile(member) for member in tar}
        return {name: file.read() for name, file in files.items() if file}


def test_a_tar_has_its_members_in_order_and_the_same_bytes_every_time(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    members = {"a.png": b"x" * 1000, "b.png": b"", "ç.png": b"y"}
    streams = []
    for _ in range(2):
        stream = TarStream()
        for name, data in members.items():
            stream.add(name, data)
        stream.close()
        streams.append(capfdbinary.readouterr().out)
    assert streams[0] == streams[1]
    assert read_tar(streams[0]) == members


def test_a_name_that_is_taken_gets_a_number(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    stream = TarStream()
    for name in ("a.png", "a-2.png", "a.png", "a.png"):
        stream.add(name, name.encode())
    stream.close()
    assert list(read_tar(capfdbinary.readouterr().out)) == [
        "a.png", "a-2.png", "a-2-2.png", "a-3.png",
    ]  # fmt: skip


def test_a_member_is_written_before_the_next_one_is_made(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    stream = TarStream()
    stream.add("a.png", b"x" * 1000)
    assert b"x" * 1000 in capfdbinary.readouterr().out
    stream.close()


def test_a_tar_without_members_is_valid(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    TarStream().close()
    assert read_tar(capfdbinary.readouterr().out) == {}
