"""Sources of requests: iterables, and streams that are read as they arrive."""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final, Protocol

from sdcli.errors import UsageError
from sdcli.inputs.text_decoding import LINE, LineDecoder
from sdcli.prompts.entry import PromptEntry, Reader
from sdcli.prompts.files import read_error
from sdcli.prompts.wildcards import Wildcards
from sdcli.request import GenerationRequest

_READ_BYTES: Final = 65_536


class RequestSource(Protocol):
    """A source of requests. A batch holds those that have arrived, so none waits for a second.

    `wildcards` fill the prompts of its requests that have no seed yet.
    """

    @property
    def wildcards(self) -> Wildcards | None: ...

    def take(self, limit: int, *, wait: bool) -> list[GenerationRequest]:
        """Remove and return up to `limit` requests that have arrived.

        With `wait`, blocks until there is at least one; an empty list then means the end.
        """


class IterableSource:
    """Requests that are all available from the start."""

    def __init__(
        self, requests: Iterable[GenerationRequest], wildcards: Wildcards | None = None
    ) -> None:
        self._requests = iter(requests)
        self.wildcards = wildcards

    def take(self, limit: int, *, wait: bool) -> list[GenerationRequest]:
        """Remove and return the next requests, at most `limit`."""
        del wait  # an iterable has nothing to wait for
        return list(islice(self._requests, limit))


class StreamSource:
    """The requests of an open file descriptor, in the format of `reader`, as they arrive.

    `expand` yields the requests of an entry, or raises UsageError. An invalid entry raises from
    `take` only with `wait`, after the requests before it were taken. With `skip`, the error of an
    invalid entry is passed to `skip` instead, and reading continues.
    """

    def __init__(
        self,
        descriptor: int,
        reader: Reader,
        expand: Callable[[PromptEntry], Iterable[GenerationRequest]],
        *,
        name: str = "stdin",
        separator: str = LINE,
        skip: Callable[[UsageError], None] | None = None,
        wildcards: Wildcards | None = None,
    ) -> None:
        self.wildcards = wildcards
        self._lines = _LineStream(descriptor, name, separator)
        self._name = name
        self._entries = reader(self._lines, name)
        self._expand = expand
        self._skip = skip
        self._pending: Iterator[GenerationRequest] = iter(())
        self._error: UsageError | None = None
        self._at_end = False
        self._is_empty = True

    def take(self, limit: int, *, wait: bool) -> list[GenerationRequest]:
        """Remove and return up to `limit` requests. Raises UsageError for an invalid entry."""
        requests: list[GenerationRequest] = []
        while len(requests) < limit and (request := self._next_request(wait and not requests)):
            requests.append(request)
        return requests

    def _next_request(self, wait: bool) -> GenerationRequest | None:
        while True:
            try:
                if request := next(self._pending, None):
                    return request
            except UsageError as error:
                self._pending = iter(())
                self._reject(error)
            if self._error and wait:
                raise self._error
            if self._error or self._at_end or not self._lines.receive(wait):
                return None
            self._read_entry()

    def _read_entry(self) -> None:
        try:
            entry = next(self._entries)
        except StopIteration:
            self._at_end = True
            if self._is_empty:
                self._error = _empty_error(self._name)
            return
        if isinstance(entry, UsageError):
            self._reject(entry)
        elif entry:
            self._is_empty &= "prompt" not in map(str.lower, entry.fields)
            self._pending = iter(self._expand(entry))

    def _reject(self, error: UsageError) -> None:
        self._is_empty = False
        if self._skip:
            self._skip(error)
        else:
            self._error = error


def _empty_error(name: str) -> UsageError:
    return UsageError(
        f"no prompt in {name}",
        code="usage.prompt",
        hint="it is empty or has only comments; try echo 'a cat' | sdcli generate -",
    )


class _LineStream:
    """The lines of a file descriptor, without waiting for more than one."""

    def __init__(self, descriptor: int, name: str, separator: str) -> None:
        # The descriptor itself, because a buffered reader would hide lines that it holds from
        # `select`.
        self._descriptor = descriptor
        self._name = name
        self._decoder = LineDecoder(separator)
        self._lines: deque[str] = deque()
        self._at_end = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.receive(wait=True)
        if not self._lines:
            raise StopIteration
        return self._lines.popleft()

    def receive(self, wait: bool) -> bool:
        """Read what has arrived. Returns whether `next` will not block: a line, or the end."""
        while not self._lines and not self._at_end and self._poll(wait):
            chunk = self._read()
            self._at_end = not chunk
            self._lines.extend(self._decoder.feed(chunk))
        return bool(self._lines) or self._at_end

    def _read(self) -> bytes:
        try:
            return os.read(self._descriptor, _READ_BYTES)
        except OSError as error:  # a folder, or a terminal that is gone
            self._at_end = True
            raise read_error(self._name, error) from error

    def _poll(self, wait: bool) -> bool:
        return bool(select.select([self._descriptor], [], [], None if wait else 0)[0])
