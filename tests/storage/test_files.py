"""Test that files are written completely or not at all, and never overwritten by accident."""

from __future__ import annotations

import errno
import os
import resource
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sdcli.errors import OutputError
from sdcli.storage import files
from sdcli.storage.jobs.leases import JobLeases
from sdcli.storage.latents.safetensors_appender import SafetensorsAppender
from sdcli.storage.process_owner import current_owner, host


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
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from sdcli.storage import files
from sdcli.storage.jobs.leases import JobLeases
from sdcli.storage.latents.safetensors_appender import SafetensorsAppender
from sdcli.storage.process_owner import current_owner, host
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


@contextmanager
def almost_full_disk(limit: int = 1000) -> Iterator[None]:
    """A file size limit stands in for the disk: the write fails half-way, as on a full one."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    writes_bytecode = not sys.dont_write_bytecode
    # Python itself leaves half a .pyc file where a write is cut short.
    sys.dont_write_bytecode = True
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        sys.dont_write_bytecode = not writes_bytecode


WRITERS: dict[str, Callable[[Path], object]] = {
    "image": lambda folder: files.write_atomic(folder / "a.png", b"x" * 5000, force=False),
    "numbered": lambda folder: files.write_numbered(folder, "a", ".png", b"x" * 5000),
    "latents": lambda folder: SafetensorsAppender(folder, {"text": "x" * 5000}, tensors=1),
    "lease": lambda folder: JobLeases(folder).acquire(("ab", 0)),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    with almost_full_disk(10), pytest.raises(OutputError) as caught:
        WRITERS[name](tmp_path)
    assert caught.value.code == "output.full"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    with almost_full_disk(), pytest.raises(OutputError):
        files.write_atomic(path, b"x" * 5000, force=True)
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("blocker", ["file", "missing"])
def test_a_folder_that_cannot_be_used_is_an_output_error(tmp_path: Path, blocker: str) -> None:
    if blocker == "file":
        (tmp_path / "out").write_text("in the way")
        with pytest.raises(OutputError, match="out"):
            files.prepare_folder(tmp_path / "out" / "deeper")
    else:
        # The first folder that is missing, and no hidden name in it.
        with pytest.raises(OutputError, match=f"^the folder {tmp_path}/gone is not there$"):
            files.write_atomic(tmp_path / "gone" / ".claims" / "a", b"", force=False)


@pytest.mark.skipif(not Path("/proc/sys").is_dir(), reason="needs a folder nobody may write to")
def test_an_unwritable_folder_is_found_before_the_work() -> None:
    with pytest.raises(OutputError) as caught:
        files.prepare_folder(Path("/proc/sys"))
    assert caught.value.exit_code == 5
    assert caught.value.hint


def temporary_of(**changes: object) -> str:
    """The name of a temporary file that another process would have."""
    owner = current_owner().to_dict() | changes
    return ".sdcli-{host}-{place}-{start}-{pid}-01234567.part".format(**owner)


def ended_process() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


HOUR = 3600.0
TEMPORARIES = [
    pytest.param(lambda: temporary_of(pid=ended_process()), 0, False, id="dead"),
    pytest.param(lambda: temporary_of(start="1"), 0, False, id="another process has its id"),
    pytest.param(temporary_of, 48 * HOUR, True, id="alive"),
    pytest.param(lambda: temporary_of(place="0" * 16, pid=ended_process()), HOUR, True, id="away"),
    pytest.param(lambda: temporary_of(place="0" * 16), 48 * HOUR, False, id="away and old"),
    pytest.param(
        lambda: f".sdcli-{host()}-{ended_process()}-01234567.part", HOUR, True, id="0.1.0"
    ),
    pytest.param(lambda: f".sdcli-{host()}-1-01234567.part", 48 * HOUR, False, id="old name, old"),
    pytest.param(lambda: ".sdcli-notes.part", 48 * HOUR, True, id="another name"),
]


@pytest.mark.parametrize(("make_name", "age", "stays"), TEMPORARIES)
def test_temporary_files_stay_while_their_process_may_live(
    make_name: Callable[[], str], age: float, stays: bool, tmp_path: Path
) -> None:
    path = tmp_path / make_name()
    path.touch()
    os.utime(path, (time.time() - age,) * 2)
    files.prepare_folder(tmp_path)
    assert path.exists() == stays


def test_temporary_files_are_named_after_their_process(tmp_path: Path) -> None:
    name = files.temporary_name(tmp_path).name
    assert name[:-14] == temporary_of()[:-14]


def test_a_number_is_free_when_its_companions_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when they appear after the numbers were looked up."""
    (tmp_path / "cat-0001.json").touch()
    monkeypatch.setattr(files, "_last_number", lambda folder, before: 0)
    path = files.write_numbered(tmp_path, "cat-", ".png", b"1", (".json",))
    assert path.name == "cat-0002.png"


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL])
def test_files_need_no_hard_links(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    files.write_atomic(tmp_path / "a.png", b"1", force=False)
    with pytest.raises(OutputError, match="exists"):
        files.write_atomic(tmp_path / "a.png", b"2", force=False)
    assert files.write_numbered(tmp_path, "", "-a.png", b"3").name == "0001-a.png"
    assert (tmp_path / "a.png").read_bytes() == b"1"
