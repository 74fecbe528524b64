"""Draw the seeds that nobody chose: random, but the same in every start of a run."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Final

from sdcli.job import Job
from sdcli.storage.jobs.journal import Journal

UNSEEDED_SHARD: Final = (
    "images without a seed get other seeds in other folders, so shards of different folders can't "
    "be continued once they are merged; add --seed"
)


def draw_seed(journal: Journal, job: Job) -> int:
    """Return a seed of 32 bits, drawn from the entropy of the journal."""
    # Counted under another prompt, apart from jobs that were given the seed 0.
    unseeded = replace(job, seed=0, prompt=f"unseeded\n{job.prompt}")
    [occurrence] = journal.next_occurrences([unseeded.id])
    text = f"{journal.entropy} {job.id} {occurrence}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
