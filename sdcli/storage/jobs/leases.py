"""Lease jobs between processes: one file per job, taken over when its owner is dead.

A lease says that a process is making an image. It is no proof that the image exists: the journal
is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Final, Protocol

from sdcli.errors import OutputError
from sdcli.storage import files
from sdcli.storage.jobs.journal_index import Key
from sdcli.storage.process_owner import ProcessOwner, current_owner

FOLDER: Final = ".sdcli-claims"
HEARTBEAT: Final = 10.0
"""Seconds after which the files of held leases are touched again."""

STALE_SECONDS: Final = 6 * HEARTBEAT
"""Seconds without a touch after which a lease is free, if its owner cannot be looked up."""

_NAME: Final = re.compile(r"[0-9a-f]+-\d+")
_MAX_BYTES: Final = 4096


class Leases(Protocol):
    """Leases of jobs and of names, by which processes keep off each other's work."""

    def acquire(self, key: Key) -> bool:
        """Try to lease the job; False when another process holds it."""

    def describe_owner(self, key: Key) -> str:
        """The holder of a job's lease in words, for messages; "" once it is released."""

    def release(self, keys: Iterable[Key]) -> None:
        """Give up the leases of these jobs."""

    def has_others(self) -> bool:
        """Whether another process holds a lease."""

    def close(self) -> None:
        """Give up all leases."""


class JobLeases:
    """The leases of jobs in `folder`, of this process and of others. Raises OutputError.

    A lease is stale when its process is dead. Where that cannot be looked up (another machine or
    container, a file torn by a crash) it is stale when it was not touched for a minute. Any process
    may then take it over.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER
        self._held: set[Path] = set()
        self._closing = Event()
        self._content = json.dumps(current_owner().to_dict()).encode()
        self._heartbeat = Thread(target=self._touch_held, name="sdcli-leases", daemon=True)

    def acquire(self, key: Key) -> bool:
        """Try to lease the job; False when another process holds it."""
        path = self._path(key)
        with files.os_errors_as_output_errors(path):
            if not self._heartbeat.is_alive():
                self._heartbeat.start()
            acquired = self._create(path) or self._take_over(path)
        if acquired:
            self._held.add(path)
        return acquired

    def describe_owner(self, key: Key) -> str:
        """The holder of a job's lease in words, for messages; "" once it is released."""
        path = self._path(key)
        if not os.path.lexists(path):
            return ""
        owner = _read_owner(path)
        name = owner.describe() if owner else f"an unknown process: {path} is unreadable"
        if owner and owner.may_be_looked_up():
            return name
        return f"{name} (taken over after {STALE_SECONDS:.0f} seconds without a sign of life)"

    def release(self, keys: Iterable[Key]) -> None:
        """Give up the leases of these jobs."""
        for path in map(self._path, keys):
            self._remove(path)

    def has_others(self) -> bool:
        """Whether another process holds a lease."""
        try:
            others = {*self._folder.iterdir()} - self._held
            return any(_NAME.fullmatch(path.name) and not _is_stale(path) for path in others)
        except OSError:
            return False

    def close(self) -> None:
        """Give up all leases, and remove the folder unless another process uses it."""
        self._closing.set()
        for path in tuple(self._held):
            self._remove(path)
        with suppress(OSError, OutputError):
            _check_folder(self._folder)
            self._remove_stale()
            self._folder.rmdir()

    def _remove_stale(self) -> None:
        """Remove leases of dead processes; nobody takes over those of jobs that are done."""
        files.remove_stale_temporaries(self._folder, max_age=STALE_SECONDS)
        with files.folder_lock(self._folder):
            for path in self._folder.iterdir():
                if _NAME.fullmatch(path.name) and _is_stale(path):
                    path.unlink(missing_ok=True)

    def _path(self, key: Key) -> Path:
        return self._folder / f"{key[0]}-{key[1]}"

    def _remove(self, path: Path) -> None:
        if path in self._held:
            self._held.discard(path)
            with suppress(OSError):
                # After a long sleep another process may have taken the lease over.
                if _read(path) == self._content:
                    path.unlink()

    def _create(self, path: Path) -> bool:
        """Create the file together with its content, so that no process sees an empty one."""
        temporary = self._write_temporary()
        try:
            files.rename_to_new(temporary, path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def _write_temporary(self) -> Path:
        while True:
            # A process that ends removes the folder if it is empty: perhaps between these lines, or
            # within Path.mkdir(exist_ok=True), which asks once more whether it is a folder.
            with suppress(FileExistsError):
                os.mkdir(self._folder)
            temporary = files.temporary_name(self._folder)
            with suppress(FileNotFoundError):
                _check_folder(self._folder)
                self._write_to(temporary)
                return temporary

    def _write_to(self, temporary: Path) -> None:
        try:
            with temporary.open("xb") as file:
                file.write(self._content)
                # A lease counts from now on, also after a power failure.
                files.fsync(file)
        except OSError:  # such as a full disk
            temporary.unlink(missing_ok=True)
            raise

    def _take_over(self, path: Path) -> bool:
        try:
            with files.folder_lock(self._folder):
                if not _is_stale(path):
                    return False
                path.unlink(missing_ok=True)
                return self._create(path)
        except FileNotFoundError:
            # The owner has released the lease meanwhile, and removed the folder.
            return self._create(path)

    def _touch_held(self) -> None:
        while not self._closing.wait(HEARTBEAT):
            for path in tuple(self._held):
                with suppress(OSError):
                    self._touch(path)

    def _touch(self, path: Path) -> None:
        try:
            os.utime(path)
        except PermissionError:
            # Some disks (FAT, shared folders of virtual machines) let only the administrator set
            # times; writing sets them, too.
            if _read(path) == self._content:
                path.write_bytes(self._content)


def name_key(name: str) -> Key:
    """The lease of a name, without its suffix: companions of two formats would be the same."""
    text = f"name {Path(name).stem}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32], 0


def _check_folder(folder: Path) -> None:
    """Raise OutputError unless the folder of leases is a real one, FileNotFoundError without it."""
    if not stat.S_ISDIR(os.lstat(folder).st_mode):
        # Through a link, files outside the folder would be taken for leases and removed.
        raise OutputError(
            f"{folder} is not a folder, but sdcli keeps leases there",
            code="output.not_a_folder",
            hint=f"remove {folder}, or choose another --out",
        )


def _is_stale(path: Path) -> bool:
    try:
        age = time.time() - os.lstat(path).st_mtime
    except FileNotFoundError:
        return True
    owner = _read_owner(path)
    if owner and owner.may_be_looked_up():
        return owner.is_known_dead()
    return age > STALE_SECONDS


def _read_owner(path: Path) -> ProcessOwner | None:
    """The owner that a lease names; None for a torn or foreign file."""
    try:
        return ProcessOwner.from_dict(json.loads(_read(path)))
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _read(path: Path) -> bytes:
    """The content of a regular file. Raises OSError."""
    # A pipe in its place must not be waited for.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    with open(handle, "rb") as file:
        return file.read(_MAX_BYTES) or b""
