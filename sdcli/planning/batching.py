"""How a batch runs: what is left to do, grouped so that nothing loads twice, in shares."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from sdcli.job import Job, batch_key
from sdcli.prompts.sources import RequestSource
from sdcli.request import GenerationRequest, PipelineSpec

if TYPE_CHECKING:
    from sdcli.storage.jobs.store import JobStore

PLANNING_WINDOW: Final = 1024
"""Requests that are looked at together: models that alternate in a file load once in so many."""


class BatchObserver(Protocol):
    """Hears in which order jobs will be told of."""

    def expect(self, jobs: Sequence[Job]) -> None: ...
    def skip(self, jobs: Sequence[Job]) -> None: ...


def claimed_batches(
    source: RequestSource,
    plan: Callable[[Sequence[GenerationRequest]], list[Job]],
    ledger: JobStore,
    limit: Callable[[Job], int],
    order: BatchObserver,
) -> Iterator[list[Job]]:
    """What this process has to draw, batch by batch, each one claimed.

    `limit` tells how many jobs like this one fit into a batch, and may load its pipeline. `order`
    hears which jobs come, and which of them after all do not.
    """
    later: list[Job] = []
    loaded: PipelineSpec | None = None
    while window := plan(source.take(1, wait=True)):
        window += plan(source.take(PLANNING_WINDOW - 1, wait=False))
        wanted = ledger.pending(window)
        order.expect(wanted)
        for group in group_jobs(wanted, loaded):
            loaded = group[0].spec
            yield from _claim_group(group, ledger, limit, order, later)
    for left in ledger.wait_for_others(later):
        for group in group_jobs(left):
            size = limit(group[0])
            yield from (group[i : i + size] for i in range(0, len(group), size))


def _claim_group(
    group: Sequence[Job],
    ledger: JobStore,
    limit: Callable[[Job], int],
    order: BatchObserver,
    later: list[Job],
) -> Iterator[list[Job]]:
    while group:
        size = limit(group[0])
        mine, others = ledger.lease(group[:size])
        later += others
        order.skip([job for job in group[:size] if job not in mine])
        group = group[size:]
        if mine:
            yield mine


def group_jobs(jobs: Sequence[Job], loaded: PipelineSpec | None = None) -> list[list[Job]]:
    """The jobs by what they can share a batch for; equal pipelines side by side, else in order.

    What is `loaded` comes first.
    """
    by_key: dict[Hashable, list[Job]] = {}
    for job in jobs:
        by_key.setdefault(batch_key(job), []).append(job)
    turns = order_specs({group[0].spec: None for group in by_key.values()}, loaded)
    return sorted(by_key.values(), key=lambda group: turns.index(group[0].spec))


def order_specs(
    specs: Mapping[PipelineSpec, None], loaded: PipelineSpec | None
) -> list[PipelineSpec]:
    """In which order pipelines are used: what is loaded, what differs in the VAE alone, the rest.

    Else as they come; those of one model stay together.
    """
    models: dict[PipelineSpec, list[PipelineSpec]] = {}
    for spec in sorted(specs, key=lambda spec: spec != loaded):
        models.setdefault(without_vae(spec), []).append(spec)
    if loaded is not None and without_vae(loaded) in models:
        models = {without_vae(loaded): models.pop(without_vae(loaded)), **models}
    return [spec for known in models.values() for spec in known]


def without_vae(spec: PipelineSpec) -> PipelineSpec:
    """The spec without its choice of a VAE: what is large, and loaded once for all VAEs."""
    return replace(spec, vae=None, force_vae=False)


def same_base_model(spec: PipelineSpec, other: PipelineSpec) -> bool:
    """Whether only the VAE must be loaded to go from one to the other."""
    return without_vae(spec) == without_vae(other)
