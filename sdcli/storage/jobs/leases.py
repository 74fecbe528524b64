"""Lease jobs between processes: one file per job, taken over when its owner is dead.

A lease says that a process is making an image. It is no proof that the image exists: the journal
is.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Final

from sdcli.storage import files
from sdcli.storage.jobs.journal_index import Key

FOLDER: Final = ".sdcli-claims"
HEARTBEAT: Final = 10.0
"""Seconds after which the files of held leases are touched again."""

STALE_SECONDS: Final = 6 * HEARTBEAT
"""Seconds without a touch after which a lease of another machine is free."""


class JobLeases:
    """The leases of jobs in `folder`, of this process and of others. Raises OutputError.

    A lease of this machine is stale when its process is dead, one of another machine when it was
    not touched for a minute; any process may then take it over.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER
        self._held: set[Path] = set()
        self._closing = Event()
        self._owner = json.dumps(
            {"host": files.host(), "pid": os.getpid(), "start": _start_time("self")}
        )
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

    def release(self, keys: Iterable[Key]) -> None:
        """Give up the leases of these jobs."""
        for path in map(self._path, keys):
            self._remove(path)

    def close(self) -> None:
        """Give up all leases, and remove the folder unless another process uses it."""
        self._closing.set()
        for path in tuple(self._held):
            self._remove(path)
        with suppress(OSError):
            self._remove_stale()
            self._folder.rmdir()

    def _remove_stale(self) -> None:
        """Remove leases of dead processes; nobody takes over those of jobs that are done."""
        files.remove_stale_temporaries(self._folder)
        with files.folder_lock(self._folder):
            for path in self._folder.iterdir():
                if not path.name.startswith(".") and _is_stale(path):
                    path.unlink(missing_ok=True)

    def _path(self, key: Key) -> Path:
        return self._folder / f"{key[0]}-{key[1]}"

    def _remove(self, path: Path) -> None:
        if path in self._held:
            self._held.discard(path)
            with suppress(OSError):
                path.unlink()

    def _create(self, path: Path) -> bool:
        """Create the file together with its content, so that no process sees an empty one."""
        temporary = self._write_temporary()
        try:
            # Unlike rename, link fails when the name exists.
            os.link(temporary, path)
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
                temporary.write_text(self._owner)
                return temporary

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
                    os.utime(path)


def _is_stale(path: Path) -> bool:
    try:
        age = time.time() - path.stat().st_mtime
        owner = json.loads(path.read_text())
        is_local = owner["host"] == files.host()
        pid, start = int(owner["pid"]), owner["start"]
    except FileNotFoundError:
        return True
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if not is_local:
        return age > STALE_SECONDS
    # The system gives the ids of dead processes to new ones, which have another start time.
    return not files.is_alive(pid) or _start_time(pid) != start


def _start_time(pid: int | str) -> str:
    """The start time of a process in clock ticks since boot, "" on systems without /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    # The second field is the program's name in parentheses, which may contain blanks itself.
    return stat.rpartition(")")[2].split()[19]
