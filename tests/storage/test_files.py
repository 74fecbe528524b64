"""Test that files are written completely or not at all, and never overwritten by accident."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sdcli.errors import OutputError
from sdcli.storage import files


def test_a_file_is_whole_and_readable_by_others_as_the_umask_says(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        files.write_atomic(tmp_path / "a.png", b"abc", force=False)
    finally:
        os.umask(mask)
    assert (tmp_path / "a.png").read_bytes() == b"abc"
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["a.png"]


def test_an_existing_file_stays_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match="exists") as caught:
        files.write_atomic(path, b"new", force=False)
    assert caught.value.code == "output.exists"
    assert path.read_bytes() == b"old"
    files.write_atomic(path, b"new", force=True)
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.png"]


def test_numbers_go_on_from_the_largest_there_is(tmp_path: Path) -> None:
    (tmp_path / "0041-old.png").touch()
    (tmp_path / "notes.txt").touch()
    first = files.write_numbered(tmp_path, "", "-a.png", b"1")
    second = files.write_numbered(tmp_path, "", "-b.png", b"2")
    assert [first.name, second.name] == ["0042-a.png", "0043-b.png"]


def test_numbers_grow_past_four_digits(tmp_path: Path) -> None:
    (tmp_path / "cat-9999.png").touch()
    assert files.write_numbered(tmp_path, "cat-", ".png", b"1").name == "cat-10000.png"
    assert files.write_numbered(tmp_path, "cat-", ".png", b"1").name == "cat-10001.png"


ROOT = Path(__file__).parents[2]

_WRITER = """
import sys
from pathlib import Path
from sdcli.storage import files
for i in range(25):
    files.write_numbered(Path(sys.argv[1]), "", f"-{sys.argv[2]}.png", sys.argv[2].encode() * 1000)
"""


def test_several_processes_never_take_one_number_twice(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path), name], cwd=ROOT)
        for name in "abc"
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    names = sorted(os.listdir(tmp_path))
    assert [name[:4] for name in names] == [f"{number:04d}" for number in range(1, 76)]
    for name in names:
        assert (tmp_path / name).read_bytes() == name[5].encode() * 1000


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    """A file size limit stands in for the disk: the write fails half-way, as on a full one."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OutputError) as caught:
            files.write_atomic(tmp_path / "a.png", b"x" * 5000, force=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.code == "output.full"
    assert os.listdir(tmp_path) == []


def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OutputError):
            files.write_atomic(path, b"x" * 5000, force=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("blocker", ["file", "missing"])
def test_a_folder_that_cannot_be_used_is_an_output_error(tmp_path: Path, blocker: str) -> None:
    if blocker == "file":
        (tmp_path / "out").write_text("in the way")
        with pytest.raises(OutputError, match="out"):
            files.prepare_folder(tmp_path / "out" / "deeper")
    else:
        with pytest.raises(OutputError, match="No such file"):
            files.write_atomic(tmp_path / "gone" / "a.png", b"", force=False)


@pytest.mark.skipif(not Path("/proc/sys").is_dir(), reason="needs a folder nobody may write to")
def test_an_unwritable_folder_is_found_before_the_work() -> None:
    with pytest.raises(OutputError) as caught:
        files.prepare_folder(Path("/proc/sys"))
    assert caught.value.exit_code == 5
    assert caught.value.hint
