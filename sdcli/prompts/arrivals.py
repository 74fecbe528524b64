"""Requests as they arrive: a source hands over what is there, and waits only when it is told to."""

from __future__ import annotations

import os
import select
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import Protocol

from sdcli.errors import UsageError
from sdcli.request import GenerationRequest

_CHUNK = 65_536


class Arrivals(Protocol):
    """A source of requests. A batch is what has already arrived, so none waits for a second one."""

    def take(self, limit: int, *, wait: bool) -> list[GenerationRequest]:
        """Up to `limit` requests that are there; with `wait` at least one, or none at the end."""


class Given:
    """Requests that are all known from the start."""

    def __init__(self, requests: Iterable[GenerationRequest]) -> None:
        self._requests = iter(requests)

    def take(self, limit: int, *, wait: bool) -> list[GenerationRequest]:
        del wait  # none is ever late
        return list(islice(self._requests, limit))


class Lines:
    """The lines of an open file descriptor, a prompt each; empty ones and # comments are skipped.

    Each prompt takes the place of the template's. Reads the descriptor itself: a buffered reader
    would hide from `select` what it holds. Raises UsageError with the line number, but only when
    waited for: what came before a bad line is not lost with it.
    """

    def __init__(self, descriptor: int, template: GenerationRequest) -> None:
        self._descriptor = descriptor
        self._template = template
        self._lines: list[bytes] = []
        self._tail = b""
        self._number = 0
        self._open = True

    def take(self, limit: int, *, wait: bool) -> list[GenerationRequest]:
        taken: list[GenerationRequest] = []
        while len(taken) < limit and self._fill(wait and not taken):
            try:
                request = self._request(self._lines[0], self._number + 1)
            except UsageError:
                if taken or not wait:
                    break  # what came before the bad line is made first
                raise
            self._lines.pop(0)
            self._number += 1
            if request:
                taken.append(request)
        return taken

    def _fill(self, wait: bool) -> bool:
        """Whether a whole line is at hand, after reading what may be read."""
        while not self._lines and self._open and self._readable(wait):
            chunk = os.read(self._descriptor, _CHUNK)
            self._open = bool(chunk)
            *self._lines, self._tail = (self._tail + chunk).split(b"\n")
            if not self._open and self._tail:
                self._lines, self._tail = [self._tail], b""
        return bool(self._lines)

    def _readable(self, wait: bool) -> bool:
        return bool(select.select([self._descriptor], [], [], None if wait else 0)[0])

    def _request(self, line: bytes, number: int) -> GenerationRequest | None:
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            if not text or text.startswith("#"):
                return None
            return replace(self._template, prompt=text)
        except UnicodeDecodeError as error:
            raise UsageError(f"stdin:{number}: not UTF-8", code="usage.prompt") from error
        except UsageError as error:
            raise UsageError(
                f"stdin:{number}: {error.message}", code=error.code, hint=error.hint
            ) from error
