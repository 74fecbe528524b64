"""The journal: entries come back, whatever else the file holds."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.errors import OutputError
from sdcli.storage.jobs.journal import NAME, Journal
from sdcli.storage.jobs.journal_index import JournalEntry, Key

ids = st.text("0123456789abcdef", min_size=1, max_size=8)
keys = st.tuples(ids, st.integers(0, 3))
hashes = st.text("0123456789abcdef", max_size=8)
names = st.text(
    st.characters(exclude_characters="/", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60
)


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name)


@given(st.dictionaries(keys, st.tuples(names.filter(lambda n: n.strip(".")), hashes)))
def test_entries_come_back_in_another_process(entries: dict[Key, tuple[str, str]]) -> None:
    with TemporaryDirectory() as folder:
        with closing(Journal(Path(folder))) as journal:
            for key, (name, sha256) in entries.items():
                journal.done(key, JournalEntry(name=name, sha256=sha256, companions=(name,)))
        with closing(Journal(Path(folder))) as journal:
            assert journal.serial == len(entries)
            for key, (name, sha256) in entries.items():
                entry = journal.get(key)
                assert entry is not None
                assert (entry.name, entry.sha256, entry.companions) == (name, sha256, (name,))
                assert journal.has_name(name)


@given(st.binary())
def test_any_bytes_are_survived_and_kept(rubbish: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, NAME)
        path.write_bytes(rubbish)
        with closing(Journal(Path(folder))) as journal:
            journal.done(("ab", 0), JournalEntry(name="a.png"))
        assert path.read_bytes().startswith(rubbish)
        with closing(Journal(Path(folder))) as journal:
            entry = journal.get(("ab", 0))
            assert entry is not None
            assert entry.name == "a.png"


def test_the_entropy_is_drawn_once(folder: Path) -> None:
    with closing(Journal(folder)) as first, closing(Journal(folder)) as second:
        assert first.entropy == second.entropy
        assert len(first.entropy) == 32


def test_another_process_s_entries_appear_after_a_refresh(folder: Path) -> None:
    with closing(Journal(folder)) as mine, closing(Journal(folder)) as other:
        other.failed(("ab", 0), "numerics.unet", "NaN")
        assert mine.get(("ab", 0)) is None
        mine.refresh()
        entry = mine.get(("ab", 0))
        assert entry is not None
        assert entry.error == "numerics.unet: NaN"


def test_a_line_that_is_still_being_written_waits_for_its_end(folder: Path) -> None:
    with closing(Journal(folder)) as journal:
        line = json.dumps({"event": "image", "job": "ab", "occurrence": 0, "name": "a.png"})
        with (folder / NAME).open("a") as file:
            file.write(line[:20])
            file.flush()
            journal.refresh()
            assert journal.get(("ab", 0)) is None
            file.write(line[20:] + "\n")
        journal.refresh()
        assert journal.get(("ab", 0)) is not None


def test_a_failure_keeps_the_name_and_the_hashes_of_earlier_files(folder: Path) -> None:
    with closing(Journal(folder)) as journal:
        for sha256 in ("aa", "bb"):
            journal.done(("ab", 0), JournalEntry(name="a.png", sha256=sha256))
        journal.failed(("ab", 0), "device.memory", "full")
        entry = journal.get(("ab", 0))
        assert entry is not None
        assert (entry.name, entry.former) == ("a.png", {"aa", "bb"})


BAD_NAMES = ["../../a.png", "/a.png", "a/b.png", "..", ".", "a\0.png", "\ud800.png", "x" * 300, 7]


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
@pytest.mark.parametrize("key", ["name", "beside"])
def test_lines_with_names_of_no_file_of_the_folder_are_ignored(
    key: str, name: object, folder: Path
) -> None:
    line = {"event": "image", "job": "ab", "occurrence": 0, "name": "b.png", "beside": []}
    line[key] = name if key == "name" else [name]
    other = {"event": "image", "job": "cd", "occurrence": 0, "name": "c.png"}
    (folder / NAME).write_text(json.dumps(line) + "\n" + json.dumps(line | other) + "\n")
    if key == "beside":
        (folder / NAME).write_text(json.dumps(line) + "\n" + json.dumps(other) + "\n")
    with closing(Journal(folder)) as journal:
        assert journal.get(("ab", 0)) is None
        assert journal.get(("cd", 0)) is not None
        warning = journal.warning()
        assert warning is not None
        assert "1 line is ignored" in warning
        assert warning.isprintable()


def test_a_name_that_is_no_utf_8_is_a_name(folder: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    with closing(Journal(folder)) as journal:
        journal.done(("ab", 0), JournalEntry(name=name))
        assert journal.has_name(name)
        assert journal.warning() is None


HOSTILE_LINES = [
    {"event": "opened", "entropy": "\ud800"},
    {"event": "opened", "entropy": {}},
    {"event": "image", "job": "\ud800", "occurrence": 0, "name": "a.png"},
    {"event": "image", "job": "ab", "occurrence": 2**80, "name": "a.png"},
    {"event": "image", "job": "ab", "occurrence": 0, "name": "a.png", "size": 2**80},
    {"event": "image", "job": "ab", "occurrence": [], "name": "a.png"},
    {"event": "image", "job": "ab", "occurrence": 0, "name": "a.png", "beside": 5},
    {"event": "failed", "job": "ab", "occurrence": 0, "error": {"a": 1}},
    ["event"],
    "event",
    None,
]


@pytest.mark.parametrize("line", HOSTILE_LINES, ids=ascii)
def test_forged_lines_are_survived(line: object, folder: Path) -> None:
    (folder / NAME).write_text(json.dumps(line) + "\n")
    for _ in range(2):
        with closing(Journal(folder)) as journal:
            journal.entropy.encode()
            journal.get(("ab", 0))
            journal.done(("cd", 0), JournalEntry(name="c.png"))
            assert journal.get(("cd", 0)) is not None


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "pipe"])
def test_a_journal_is_a_file_of_its_folder(kind: str, folder: Path) -> None:
    target = folder / "other"
    if kind == "folder":
        (folder / NAME).mkdir()
    elif kind == "pipe":
        os.mkfifo(folder / NAME)
    else:
        (folder / NAME).symlink_to(target)
    if kind == "link":
        target.write_text("my own\n")
    with pytest.raises(OutputError):
        Journal(folder)
    assert not target.exists() or target.read_text() == "my own\n"


def test_a_removed_journal_is_an_error_and_not_a_silent_loss(folder: Path) -> None:
    with closing(Journal(folder)) as journal:
        (folder / NAME).unlink()
        with pytest.raises(OutputError):
            journal.done(("ab", 0), JournalEntry(name="a.png"))
