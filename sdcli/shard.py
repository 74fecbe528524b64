"""Read which share of a run this process works on."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from sdcli.errors import UsageError, quoted

_MOST_DIGITS: Final = 9
_RANK_VARIABLES: Final = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
_SLURM: Final = "SLURM_ARRAY_TASK_"
_KUBERNETES: Final = "JOB_COMPLETION_INDEX"
_SPELLINGS: Final = "e.g. --shard 2/8 for the second of eight shares, or --shard auto"


# Not a dataclass: the client of the worker starts faster without that module.
class Shard(NamedTuple):
    """The share of one of `world_size` processes that were started together.

    `rank` counts the processes of the run from 0, `local_rank` those of this machine.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    def __str__(self) -> str:
        """The share as --shard takes it."""
        return f"{self.rank + 1}/{self.world_size}"

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
        world_size = os.environ.get("WORLD_SIZE", "1")
        # Only the one process of a run can be meant without a rank.
        rank = os.environ.get("RANK", "0" if world_size == "1" else "")
        local_rank = os.environ.get("LOCAL_RANK", "0")
        numbers = (rank, world_size, local_rank)
        if not (all(map(_is_number, numbers)) and int(rank) < int(world_size)):
            values = [f"{name}={os.environ.get(name, '')}" for name in _RANK_VARIABLES]
            raise UsageError(
                f"{', '.join(values[:2])} and {values[2]} do not describe a shard of a run",
                code="usage.rank",
                hint="torchrun sets all three; otherwise unset them",
            )
        return cls(rank=int(rank), world_size=int(world_size), local_rank=int(local_rank))

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The share of --shard: I/N, auto or auto/N. Raises UsageError.

        "auto" reads WORLD_SIZE, a Slurm array or a Kubernetes job, whichever is there first. The
        last does not tell the number of shares: that is N.
        """
        match = re.fullmatch(r"(auto|[0-9]{1,9})(?:/([0-9]{1,9}))?", text.strip().lower())
        if not match or (match[1] != "auto" and not match[2]):
            raise _shard_error(text, "is not I/N, auto or auto/N")
        count = int(match[2]) if match[2] else None
        if match[1] == "auto":
            return _find_shard(text, count)
        if not cls.from_environment().is_whole_run:
            hint = "leave it out: RANK and WORLD_SIZE tell the share of each process"
            raise _shard_error(text, "can't be used with torchrun", hint)
        return _numbered_shard(text, int(match[1]), count or 0)


WHOLE_RUN: Final = Shard()
"""The share of a process that works alone."""


def without_rank(environment: Mapping[str, str]) -> dict[str, str]:
    """Return a copy of an environment for a process that works alone."""
    return {name: value for name, value in environment.items() if name not in _RANK_VARIABLES}


def is_launched() -> bool:
    """Whether torchrun or `accelerate launch` started this process, as one of several."""
    return "WORLD_SIZE" in os.environ


def _numbered_shard(text: str, number: int, count: int) -> Shard:
    if not 1 <= number <= count:
        hint = f"shares count from 1: {_SPELLINGS}"
        raise _shard_error(text, "is no share of a run", hint)
    return Shard(rank=number - 1, world_size=count)


def _find_shard(text: str, count: int | None) -> Shard:
    """The share that the environment tells, of `count` ones if that is given."""
    if is_launched():
        found = Shard.from_environment()
    elif f"{_SLURM}ID" in os.environ:
        found = _slurm_shard(text)
    elif _KUBERNETES in os.environ:
        return _kubernetes_shard(text, count)
    else:
        reason = "finds neither WORLD_SIZE, a Slurm array nor a Kubernetes indexed job"
        raise _shard_error(text, reason, "give the share by number, e.g. --shard 2/8")
    if count not in (None, found.world_size):
        # Some tasks of an array that are started again would take other shares.
        raise _shard_error(
            text,
            f"differs from the environment, which has {_count_shares(found)}",
            "give the share by number, e.g. --shard 2/8",
        )
    return found


def _count_shares(shard: Shard) -> str:
    return "1 share" if shard.is_whole_run else f"{shard.world_size} shares"


def _slurm_shard(text: str) -> Shard:
    """The share of a task of an array, such as --array=1-8 or --array=0-30:10."""
    names = ("ID", "MIN", "MAX", "STEP", "COUNT")
    values = [os.environ.get(_SLURM + name, "") for name in names]
    if not all(map(_is_number, values)):
        reason = f"needs {', '.join(_SLURM + name for name in names)}"
        raise _shard_error(text, reason, "Slurm sets them for sbatch --array")
    task, least, most, step, count = map(int, values)
    rank, rest = divmod(task - least, step or 1)
    if rest or not 0 <= rank < count or least + (count - 1) * step != most:
        raise _shard_error(
            text,
            f"can't number the tasks of this array (task {task}, {count} from {least} to {most})",
            "use an array without gaps, such as --array=1-8, or --shard I/N",
        )
    return Shard(rank=rank, world_size=count)


def _kubernetes_shard(text: str, count: int | None) -> Shard:
    index = os.environ[_KUBERNETES]
    if count is None:
        reason = "can't know the number of shares: Kubernetes sets only the index"
        raise _shard_error(text, reason, "add the completions of the job, e.g. --shard auto/8")
    if not _is_number(index) or int(index) >= count:
        reason = f"has no share for {_KUBERNETES}={index}"
        raise _shard_error(text, reason, "give the completions of the job")
    return Shard(rank=int(index), world_size=count)


def _shard_error(text: str, reason: str, hint: str = _SPELLINGS) -> UsageError:
    return UsageError(f"--shard: {quoted(text)} {reason}", code="usage.shard", hint=hint)


def _is_number(text: str) -> bool:
    # isdigit alone accepts "²", which int() does not.
    return text.isascii() and text.isdigit() and len(text) < _MOST_DIGITS
