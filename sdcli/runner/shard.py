"""The share of a run that this process works on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sdcli.errors import UsageError

if TYPE_CHECKING:
    from sdcli.storage.jobs.store import Shard


def shard_from_environment() -> Shard:
    """This process's share under torchrun or `accelerate launch`, which tell it by environment."""
    from sdcli.storage.jobs.store import Shard

    rank, of = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    if not (rank.isdigit() and of.isdigit() and int(rank) < int(of)):
        raise UsageError(
            f"RANK={rank} and WORLD_SIZE={of} are no share of a run",
            code="usage.rank",
            hint="torchrun sets both; unset them otherwise",
        )
    return Shard(rank=int(rank), world_size=int(of))
