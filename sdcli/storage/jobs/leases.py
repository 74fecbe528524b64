"""Who is making which image right now: a small file a job, created by whoever comes first.

A claim is stale when its process of this machine is dead, or when another machine has not touched
it for a while; then somebody else takes it over. Claims are no proof that an image exists: the
journal is.
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
"""Seconds between two touches of what is held."""

STALE: Final = 6 * HEARTBEAT
"""Seconds without a touch after which a claim of another machine is nobody's."""


class JobLeases:
    """The claims in `folder`, of this process and of others. Raises OutputError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER
        self._held: set[Path] = set()
        self._closing = Event()
        self._me = json.dumps({"host": files.host(), "pid": os.getpid(), "start": _born("self")})
        self._touching = Thread(target=self._keep_touching, name="sdcli-claims", daemon=True)

    def acquire(self, key: Key) -> bool:
        """Whether the job is now this process's to make."""
        path = self._path(key)
        with files.os_errors_as_output_errors(path):
            if not self._touching.is_alive():
                self._folder.mkdir(parents=True, exist_ok=True)
                self._touching.start()
            taken = self._create(path) or self._take_over(path)
        if taken:
            self._held.add(path)
        return taken

    def release(self, keys: Iterable[Key]) -> None:
        """Let the jobs go, made or not."""
        for path in map(self._path, keys):
            self._drop(path)

    def close(self) -> None:
        """Let everything go, and the folder with it when nobody else is there."""
        self._closing.set()
        for path in tuple(self._held):
            self._drop(path)
        with suppress(OSError):
            self._sweep()
            self._folder.rmdir()

    def _sweep(self) -> None:
        """Remove the claims of the dead: on jobs that were done, nobody takes them over."""
        files.remove_stale_temporaries(self._folder)
        with files.folder_lock(self._folder):
            for path in self._folder.iterdir():
                if not path.name.startswith(".") and _is_stale(path):
                    path.unlink(missing_ok=True)

    def _path(self, key: Key) -> Path:
        return self._folder / f"{key[0]}-{key[1]}"

    def _drop(self, path: Path) -> None:
        if path in self._held:
            self._held.discard(path)
            with suppress(OSError):
                path.unlink()

    def _create(self, path: Path) -> bool:
        """Create the claim with its content in one step: nobody sees an empty one."""
        self._folder.mkdir(exist_ok=True)  # another process may have left, and swept it away
        temporary = files.temporary_name(self._folder)
        temporary.write_text(self._me)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def _take_over(self, path: Path) -> bool:
        with files.folder_lock(self._folder):
            if not _is_stale(path):
                return False
            path.unlink(missing_ok=True)
            return self._create(path)

    def _keep_touching(self) -> None:
        while not self._closing.wait(HEARTBEAT):
            for path in tuple(self._held):
                with suppress(OSError):
                    os.utime(path)


def _is_stale(path: Path) -> bool:
    try:
        age = time.time() - path.stat().st_mtime
        owner = json.loads(path.read_text())
        here, pid, start = owner["host"] == files.host(), int(owner["pid"]), owner["start"]
    except FileNotFoundError:
        return True
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if not here:
        return age > STALE
    return not files.is_alive(pid) or _born(pid) != start


def _born(pid: int | str) -> str:
    """When a process began, as the system counts it: ids are used again. "" where it is not told"""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]
