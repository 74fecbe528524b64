"""The first images of a source."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sdcli.prompts.limit import LimitedSource
from sdcli.prompts.sources import IterableSource
from sdcli.request import GenerationRequest


@given(st.lists(st.integers(1, 5), max_size=8), st.integers(1, 30), st.integers(1, 4))
def test_they_are_those_of_the_whole_source(counts: list[int], limit: int, size: int) -> None:
    requests = [
        GenerationRequest(prompt=str(i), seed=10 * i, count=count) for i, count in enumerate(counts)
    ]
    source = LimitedSource(IterableSource(requests), limit)
    taken = []
    while part := source.take(size, wait=True):
        taken += part
    every = [(r.prompt, r.seed + i) for r in requests for i in range(r.count)]
    assert [(r.prompt, r.seed + i) for r in taken for i in range(r.count)] == every[:limit]


def test_nothing_is_read_after_the_last_image() -> None:
    def requests():
        yield GenerationRequest(prompt="a", count=9)
        raise AssertionError("read too far")

    source = LimitedSource(IterableSource(requests()), 2)
    assert [request.count for request in source.take(1, wait=True)] == [2]
    assert source.take(1, wait=True) == []
