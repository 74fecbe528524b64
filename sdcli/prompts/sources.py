"""Requests as they arrive: a source hands over what is there, and waits only when it is told to."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Protocol

from sdcli.errors import UsageError
from sdcli.prompts.entry import PromptEntry, Reader
from sdcli.prompts.wildcards import Wildcards
from sdcli.request import GenerationRequest

_CHUNK = 65_536


class RequestSource(Protocol):
    """A source of requests. A batch is what has already arrived, so none waits for a second one.

    `wildcards` fill the prompts of its requests that have no seed yet.
    """

    @property
    def wildcards(self) -> Wildcards | None: ...

    def take(self, limit: int, *, wait: bool) -> list[GenerationRequest]:
        """Up to `limit` requests that are there; with `wait` at least one, or none at the end."""


class IterableSource:
    """Requests that are all known from the start."""

    def __init__(
        self, requests: Iterable[GenerationRequest], wildcards: Wildcards | None = None
    ) -> None:
        self._requests = iter(requests)
        self.wildcards = wildcards

    def take(self, limit: int, *, wait: bool) -> list[GenerationRequest]:
        del wait  # none is ever late
        return list(islice(self._requests, limit))


class StreamSource:
    """The entries of an open file descriptor in some format, as they come.

    Raises UsageError for a bad entry, but only when waited for: what came before is not lost with
    it. With `skip`, bad entries are handed to it instead, and the next one is looked for.
    """

    def __init__(
        self,
        descriptor: int,
        read: Reader,
        requests_of: Callable[[PromptEntry], Iterable[GenerationRequest]],
        *,
        name: str = "stdin",
        skip: Callable[[UsageError], None] | None = None,
        wildcards: Wildcards | None = None,
    ) -> None:
        self.wildcards = wildcards
        self._feed = _Feed(descriptor)
        self._reading = read(self._feed, name)
        self._requests_of = requests_of
        self._skip = skip
        self._pending: Iterator[GenerationRequest] = iter(())
        self._fault: UsageError | None = None
        self._open = True

    def take(self, limit: int, *, wait: bool) -> list[GenerationRequest]:
        taken: list[GenerationRequest] = []
        while len(taken) < limit and (request := self._next(wait and not taken)):
            taken.append(request)
        return taken

    def _next(self, wait: bool) -> GenerationRequest | None:
        while True:
            try:
                if request := next(self._pending, None):
                    return request
            except UsageError as error:
                self._pending = iter(())
                self._bad(error)
            if self._fault and wait:
                raise self._fault
            if self._fault or not self._open or not self._feed.ready(wait):
                return None
            self._read_entry()

    def _read_entry(self) -> None:
        try:
            entry = next(self._reading)
        except StopIteration:
            self._open = False
            return
        if isinstance(entry, UsageError):
            self._bad(entry)
        elif entry:
            self._pending = iter(self._requests_of(entry))

    def _bad(self, error: UsageError) -> None:
        if self._skip:
            self._skip(error)
        else:
            self._fault = error


class _Feed:
    """The lines of a file descriptor, and whether one is there.

    Reads the descriptor itself: a buffered reader would hide from `select` what it holds.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: list[bytes] = []
        self._tail = b""
        self._first = True
        self._open = True

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.ready(wait=True)
        if not self._lines:
            raise StopIteration
        first, self._first = self._first, False
        return decode_line(self._lines.pop(0), first=first)

    def ready(self, wait: bool) -> bool:
        """Whether a whole line is at hand or none will come, after reading what may be read."""
        while not self._lines and self._open and self._readable(wait):
            chunk = os.read(self._descriptor, _CHUNK)
            self._open = bool(chunk)
            *lines, self._tail = (self._tail + chunk).split(b"\n")
            self._lines = [line + b"\n" for line in lines]
            if not self._open and self._tail:
                self._lines, self._tail = [self._tail], b""
        return bool(self._lines) or not self._open

    def _readable(self, wait: bool) -> bool:
        return bool(select.select([self._descriptor], [], [], None if wait else 0)[0])


def decode_line(line: bytes, *, first: bool) -> str:
    """The text of a line; bytes that are not UTF-8 become lone surrogates, for readers to find."""
    return line.decode("utf-8-sig" if first else "utf-8", "surrogateescape")
