"""The index of the journal: like a dictionary, but not in memory."""

from __future__ import annotations

import tracemalloc
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.errors import OutputError
from sdcli.storage.jobs.journal_index import JournalEntry, JournalIndex, Key

ids = st.text("0123456789abcdef", min_size=2, max_size=4) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=6
)
keys = st.tuples(ids, st.integers(0, 3))
hashes = st.text("0123456789abcdef", max_size=8)
entries = st.builds(
    JournalEntry,
    name=st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    sha256=hashes,
    pixels_sha256=hashes,
    companions=st.lists(st.text("ab.", max_size=4)).map(tuple),
    former=st.frozensets(hashes),
    error=st.none() | st.text(max_size=9),
    serial=st.integers(0, 2**40),
    size=st.none() | st.integers(0, 2**40),
    modified=st.none() | st.integers(-(2**62), 2**62),
)


@given(st.lists(st.tuples(keys, entries)), st.lists(keys))
def test_the_index_behaves_like_a_dictionary(
    put: list[tuple[Key, JournalEntry]], others: list[Key]
) -> None:
    index, known = JournalIndex(), dict(put)
    with index.transaction():
        for key, entry in put:
            index.put(key, entry)
    for key in [*known, *others]:
        assert index.get(key) == known.get(key)
    assert index.get_many([*known, *others]) == known
    for _, entry in put:
        assert index.has_name(entry.name)
    assert not index.has_name("nobody/has/this")
    index.close()


@given(st.lists(st.dictionaries(keys, entries)))
def test_a_job_is_added_once(parts: list[dict[Key, JournalEntry]]) -> None:
    index, known = JournalIndex(), dict[Key, JournalEntry]()
    for serial, part in enumerate(parts):
        # Each line of a journal has a serial of its own.
        new = {key: entry._replace(serial=serial) for key, entry in part.items()}
        assert index.add(new) == [key for key in new if key in known]
        known = new | known
        assert index.get_many([*known]) == known
    index.close()


def test_many_are_found_at_once() -> None:
    index = JournalIndex()
    put_many(index, 1_001)
    keys = [key for key, _ in index.loose()]
    assert [*index.get_many([*keys, ("another", 0)])] == keys
    index.close()


@given(st.lists(st.sampled_from(["aa" * 16, "bb" * 16, "cc" * 16])))
def test_occurrences_are_counted_by_job(jobs: list[str]) -> None:
    index, counts = JournalIndex(), Counter[str]()
    for part in (jobs, jobs[:1], jobs[1:]):
        expected = []
        for job in part:
            expected.append(counts[job])
            counts[job] += 1
        assert index.next_occurrences(part) == expected
    index.close()


def test_many_jobs_do_not_fill_the_memory() -> None:
    index = JournalIndex()
    held = []
    tracemalloc.start()
    with index.transaction():
        for number in range(20_000):
            job = f"{number:032x}"
            index.put(
                (job, 0), JournalEntry(name=f"{number}.png", sha256=job * 2, pixels_sha256=job * 2)
            )
            index.next_occurrences([job])
            if number in (1_000, 19_999):
                held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    index.close()
    assert held[1] - held[0] < 500_000  # a dictionary: some 12 million


def put_many(index: JournalIndex, count: int) -> None:
    with index.transaction():
        for number in range(count):
            index.put((f"{number:032x}", 0), JournalEntry(name="n" * 200))


def test_a_full_temporary_folder_is_an_error_with_a_hint() -> None:
    index = JournalIndex()
    index._database.execute("PRAGMA max_page_count = 4")
    with pytest.raises(OutputError, match="full") as failure:
        put_many(index, 1000)
    assert "SQLITE_TMPDIR" in str(failure.value.hint)
    index.close()
