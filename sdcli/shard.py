"""Read which share of a run this process works on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from sdcli.errors import UsageError

_MOST_DIGITS: Final = 9


@dataclass(frozen=True, kw_only=True)
class Shard:
    """The share of one of `world_size` processes that were started together.

    `rank` counts the processes of the run from 0, `local_rank` those of this machine.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def is_whole_run(self) -> bool:
        """Whether this process works alone."""
        return self.world_size == 1

    def contains(self, index: int) -> bool:
        """Whether the job of that index is this process's: every `world_size`-th one is."""
        return index % self.world_size == self.rank

    @classmethod
    def from_environment(cls) -> Shard:
        """This process's share under torchrun or `accelerate launch`, which set the variables.

        Raises UsageError when RANK, WORLD_SIZE and LOCAL_RANK do not describe one.
        """
        rank, world_size, local_rank = (
            os.environ.get(name, default)
            for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
        )
        numbers = (rank, world_size, local_rank)
        if not (all(map(_is_number, numbers)) and int(rank) < int(world_size)):
            raise UsageError(
                f"RANK={rank}, WORLD_SIZE={world_size} and LOCAL_RANK={local_rank} do not describe "
                "a shard of a run",
                code="usage.rank",
                hint="torchrun sets all three; otherwise unset them",
            )
        return cls(rank=int(rank), world_size=int(world_size), local_rank=int(local_rank))


def _is_number(text: str) -> bool:
    # isdigit alone accepts "²", which int() does not.
    return text.isascii() and text.isdigit() and len(text) < _MOST_DIGITS
