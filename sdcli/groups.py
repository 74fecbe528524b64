"""How a batch runs: what is left to do, grouped so that nothing loads twice, in shares."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from sdcli.plan import Job, batch_key
from sdcli.prompts.arrivals import Arrivals
from sdcli.request import GenerationRequest

if TYPE_CHECKING:
    from sdcli.output.ledger import Ledger

WINDOW: Final = 1024
"""Requests that are looked at together: models that alternate in a file load once in so many."""


class Order(Protocol):
    """Hears in which order jobs will be told of."""

    def expect(self, jobs: Sequence[Job]) -> None: ...
    def skip(self, jobs: Sequence[Job]) -> None: ...


def batches(
    source: Arrivals,
    plan: Callable[[Sequence[GenerationRequest]], list[Job]],
    ledger: Ledger,
    limit: Callable[[Job], int],
    order: Order,
) -> Iterator[list[Job]]:
    """What this process has to draw, batch by batch, each one claimed.

    `limit` tells how many jobs like this one fit into a batch, and may load its pipeline. `order`
    hears which jobs come, and which of them after all do not.
    """
    later: list[Job] = []
    while window := plan(source.take(1, wait=True)):
        window += plan(source.take(WINDOW - 1, wait=False))
        wanted = ledger.wanted(window)
        order.expect(wanted)
        for group in grouped(wanted):
            yield from _claimed(group, ledger, limit, order, later)
    for left in ledger.await_others(later):
        for group in grouped(left):
            size = limit(group[0])
            yield from (group[i : i + size] for i in range(0, len(group), size))


def _claimed(
    group: Sequence[Job],
    ledger: Ledger,
    limit: Callable[[Job], int],
    order: Order,
    later: list[Job],
) -> Iterator[list[Job]]:
    while group:
        size = limit(group[0])
        mine, others = ledger.claim(group[:size])
        later += others
        order.skip([job for job in group[:size] if job not in mine])
        group = group[size:]
        if mine:
            yield mine


def grouped(jobs: Sequence[Job]) -> list[list[Job]]:
    """The jobs by what they can share a batch for; equal pipelines side by side, else in order."""
    by_key: dict[Hashable, list[Job]] = {}
    for job in jobs:
        by_key.setdefault(batch_key(job), []).append(job)
    first: dict[Hashable, int] = {}
    for group in by_key.values():
        first.setdefault(group[0].spec, len(first))
    return sorted(by_key.values(), key=lambda group: first[group[0].spec])
