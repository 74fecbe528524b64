"""Keep the lines of a journal in objects of a store, to which nothing can be appended."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

from sdcli.storage.remote_store import RemoteStore

FOLDER: Final = "sdcli-journal"
_MOST_BYTES: Final = 64_000
"""The size at which a process begins another object: each line writes the whole object again."""


class RemoteJournal:
    """The lines of all processes, each of which has objects of its own. Raises OutputError."""

    def __init__(self, store: RemoteStore) -> None:
        self.path: Path | str = store.url_of(FOLDER)
        self._store = store
        self._start = ""
        self._number = 0
        self._content = b""
        self._unread: list[bytes] = []
        self._offsets: dict[str, int] = {}

    @property
    def _name(self) -> str:
        return f"{self._start}-{self._number:04d}.jsonl"

    def close(self) -> None:
        """Do nothing: no object is open."""

    def new_lines(self, *, refresh: bool = True) -> Iterator[bytes]:
        """Yield the lines since the last call; those of other processes only with `refresh`."""
        names = self._store.sizes(FOLDER) if refresh else {}
        self._start = self._start or _next_start(names)
        # What this process has written need not be read back from the store.
        own, self._unread = self._unread, []
        others = {name for name, size in names.items() if size > self._offsets.get(name, 0)}
        # A later line replaces an earlier one of the same image.
        before = sorted(name for name in others if name < self._start)
        yield from self._read(before)
        yield from own
        after = others.difference(before)
        yield from self._read(sorted(name for name in after if not name.startswith(self._start)))

    def append(self, line: str) -> None:
        """Write a line, by writing the object again that has the last lines of this process."""
        content = self._content + line.encode("ascii")
        self._store.put(f"{FOLDER}/{self._name}", content)
        self._content = content
        self._unread.append(line.encode("ascii"))
        if len(content) >= _MOST_BYTES:
            self._number, self._content = self._number + 1, b""

    def locked(self) -> AbstractContextManager[None]:
        """Do nothing: no other process writes to the same object."""
        return nullcontext()

    def _read(self, names: list[str]) -> Iterator[bytes]:
        for name in names:
            path = f"{FOLDER}/{name}"
            content = self._store.get(path)
            new = content[self._offsets.get(name, 0) :]
            self._offsets[name] = len(content)
            yield from new.splitlines(keepends=True)


def _next_start(names: Iterable[str]) -> str:
    """A name that comes after those of earlier runs, whatever the clocks of their machines say."""
    runs = [int(match[0]) for name in names if (match := re.match(r"[0-9]{1,9}(?=-)", name))]
    return f"{max(runs, default=0) + 1:06d}-{secrets.token_hex(4)}"
