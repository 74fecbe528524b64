"""Copy the finished images of one folder, with their journal, into another."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from sdcli.errors import UsageError
from sdcli.inputs.similar_paths import similar_path_hint
from sdcli.storage import files
from sdcli.storage.companions import SUFFIXES, belongs_to_job, existing_companions
from sdcli.storage.images.file_names import alternative_names
from sdcli.storage.jobs.journal import NAME, Journal
from sdcli.storage.jobs.journal_index import JournalEntry, Key, PackedImage
from sdcli.storage.jobs.journal_lines import BadNameError, parse_archive, parse_entry
from sdcli.storage.jobs.output_folder import OutputFolder
from sdcli.storage.jobs.saved_files import at_file

_MOST_IMAGES: Final = 10_000_000
"""A journal that claims more is not believed: the indices of all would fill the memory."""

_FACTS: Final = ("index", "seed", "kind", "seconds")
"""Facts about an image in a journal beside its name and hashes."""


@dataclass(kw_only=True)
class MergedFolder:
    """The jobs of a merged folder, by what became of them.

    `present` were in the target already, with the same pixels; `different` with others, which
    stayed. `lost` are journaled, but their file is missing or altered.
    """

    path: str
    copied: int = 0
    present: int = 0
    different: int = 0
    lost: int = 0
    failed: int = 0


@dataclass(kw_only=True)
class MergedRun:
    """The run of a merged folder, as far as its journal and its images tell.

    `images` are all of the run, None if its shards do not say or differ. `shards` are those that
    were begun, of `world_size`. `done` are indices of jobs, which jobs of several runs share;
    `complete` counts the images that are there. The indices of the `failed` are not known.
    """

    images: int | None = None
    world_size: int | None = None
    shards: set[int] = field(default_factory=set)
    done: set[int] = field(default_factory=set)
    complete: int = 0
    failed: int = 0
    is_ambiguous: bool = False

    def missing(self) -> list[int]:
        """The indices of the run that are not done, those that failed among them."""
        return [index for index in range(self.images or 0) if index not in self.done]

    def add_shard(self, event: Mapping[str, Any]) -> None:
        """Take in the line of a shard. Raises ValueError, KeyError or TypeError for another."""
        rank, world_size = (int(number) for number in str(event["shard"]).split("/"))
        images = None if event["images"] is None else int(event["images"])
        if not (1 <= rank <= world_size and 0 <= (images or 0) <= _MOST_IMAGES):
            raise ValueError(event)
        run = (images, world_size)
        self.is_ambiguous |= bool(self.shards) and run != (self.images, self.world_size)
        self.images, self.world_size = run
        self.shards.add(rank)


def merge_folder(
    source: Path, target: Path, journal: Journal, warn: Callable[[str], None]
) -> MergedFolder:
    """Copy what is done in `source` and not in `target`, whose journal is open.

    Raises UsageError for a folder without a journal, and OutputError.
    """
    merged = MergedFolder(path=str(source))
    origin, place = OutputFolder(source), OutputFolder(target)
    for event in read_journal(source):
        if event.get("event") == "shard":
            journal.sharded(str(event.get("shard")), event.get("images"))
            continue
        key, entry = (event["job"], event["occurrence"]), event["entry"]
        if entry.error:
            merged.failed += _copy_failure(journal, key, entry)
        elif not origin.is_complete(entry):
            merged.lost += 1
        # The entry alone is no proof: the file may have been removed from the target since.
        elif (known := journal.get(key)) and place.is_complete(known):
            is_same = known.pixels_sha256 == entry.pixels_sha256
            merged.present += is_same
            merged.different += not is_same
            if not is_same:
                here, there = origin.location(entry), place.location(known)
                warn(f"{here} differs from {there}, which stays")
        else:
            _copy_image(origin, target, journal, key, entry, event)
            merged.copied += 1
    return merged


def read_journal(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the last line of every job, with its `entry`, and those of shards, without writing.

    Raises UsageError for a folder without a journal.
    """
    with _open_journal(folder) as file:
        last: dict[object, dict[str, Any]] = {}
        for about, event in _parse_lines(file):
            if isinstance(event, PackedImage):
                if known := last.get(about):
                    known["entry"] = known["entry"]._replace(packed=event)
            else:
                last[about] = event
    yield from last.values()


def check_journal(folder: Path) -> None:
    """Raise UsageError for a folder without a journal."""
    with _open_journal(folder):
        pass


def read_run(folder: Path) -> MergedRun:
    """Read what a folder has of the whole run: its journal, and the images that are complete."""
    run, place, repeats = MergedRun(), OutputFolder(folder), False
    for event in read_journal(folder):
        if event["event"] == "shard":
            run.add_shard(event)
        elif event["entry"].error:
            run.failed += 1
        elif place.is_complete(event["entry"]):
            run.complete += 1
            if isinstance(index := event.get("index"), int):
                # Two jobs of one place: shards of another command, such as with another seed.
                repeats |= index in run.done
                run.done.add(index)
    run.is_ambiguous |= repeats and bool(run.shards)
    return run


@contextmanager
def _open_journal(folder: Path) -> Iterator[BinaryIO]:
    path = folder / NAME
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}",
            code="usage.folder",
            hint=(None if folder.exists() else similar_path_hint(folder))
            or "give the folders that sdcli batch wrote",
        ) from error


def _parse_lines(lines: Any) -> Iterator[tuple[object, dict[str, Any] | PackedImage]]:
    """Yield what each valid line is about, and the line; of an archive, each of its images."""
    for line in lines:
        try:
            event = json.loads(line)
            if event["event"] == "shard":
                MergedRun().add_shard(event)
                yield event["shard"], event
            elif event["event"] == "archive":
                yield from parse_archive(event)
            elif event["event"] in ("image", "failed"):
                key = (str(event["job"]), int(event["occurrence"]))
                entry = parse_entry(event, None, 0)
                yield key, {**event, "job": key[0], "occurrence": key[1], "entry": entry}
        except (BadNameError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            continue  # torn by a crash, or written by a later version


def _copy_failure(journal: Journal, key: Key, entry: JournalEntry) -> bool:
    if journal.get(key):
        return False
    code, _, message = (entry.error or "").partition(": ")
    journal.failed(key, code, message)
    return True


def _copy_image(
    source: OutputFolder,
    target: Path,
    journal: Journal,
    key: Key,
    entry: JournalEntry,
    event: Mapping[str, Any],
) -> None:
    """Copy an image and its companions: first these, then the line in the journal, then itself."""
    names = alternative_names(entry.name, key[0])
    name = next(name for name in names if _is_free(target / name, key[0]))
    companions = []
    for companion in entry.companions:
        suffix = next((each for each in SUFFIXES if companion.endswith(each)), "")
        copy = Path(name).stem + suffix if suffix else companion
        # A merge that was killed may have left it.
        force = belongs_to_job(target / copy, key[0])
        files.write_atomic(target / copy, _read(source, entry, companion), force=force)
        companions.append(copy)
    facts = {fact: event[fact] for fact in _FACTS if fact in event}
    new = entry._replace(name=name, companions=tuple(companions), packed=None)
    files.write_atomic(
        target / name,
        _read(source, entry, entry.name),
        force=False,
        announce=lambda file: journal.done(key, at_file(new, file), **facts),
    )


def _is_free(path: Path, job_id: str) -> bool:
    taken = (other for other in existing_companions(path) if not belongs_to_job(other, job_id))
    return not os.path.lexists(path) and not any(taken)


def _read(source: OutputFolder, entry: JournalEntry, name: str) -> bytes:
    with files.os_errors_as_output_errors(source.path / name):
        return source.read(entry, name)
