"""The journal: entries come back, whatever else the file holds."""

from __future__ import annotations

import json
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
names = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs", "Cc"]), min_size=1)


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


def test_names_cannot_leave_the_folder(folder: Path) -> None:
    line = {"event": "image", "job": "ab", "occurrence": 0, "name": "../../a.png", "beside": ["/b"]}
    (folder / NAME).write_text(json.dumps(line) + "\n")
    with closing(Journal(folder)) as journal:
        entry = journal.get(("ab", 0))
        assert entry is not None
        assert (entry.name, entry.companions) == ("a.png", ("b",))


def test_a_removed_journal_is_an_error_and_not_a_silent_loss(folder: Path) -> None:
    with closing(Journal(folder)) as journal:
        (folder / NAME).unlink()
        with pytest.raises(OutputError):
            journal.done(("ab", 0), JournalEntry(name="a.png"))
