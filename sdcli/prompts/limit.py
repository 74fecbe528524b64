"""End a source of requests after a number of images."""

from __future__ import annotations

from dataclasses import replace

from sdcli.prompts.sources import RequestSource
from sdcli.prompts.wildcards import Wildcards
from sdcli.request import GenerationRequest


class LimitedSource:
    """The requests of another source that make its first `limit` images."""

    def __init__(self, source: RequestSource, limit: int) -> None:
        self._source = source
        self._left = limit

    @property
    def wildcards(self) -> Wildcards | None:
        """The wildcards of the source."""
        return self._source.wildcards

    def take(self, limit: int, *, wait: bool) -> list[GenerationRequest]:
        """Remove and return up to `limit` requests that have arrived; none after the last image."""
        # Every request makes an image, or more: no request is taken that would be lost.
        wanted = min(limit, self._left)
        taken = self._source.take(wanted, wait=wait) if wanted else []
        requests = []
        for request in taken:
            count = min(request.count, self._left)
            self._left -= count
            if count:
                requests.append(
                    request if count == request.count else replace(request, count=count)
                )
        return requests
