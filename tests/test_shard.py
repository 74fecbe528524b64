"""Shards: the environment variables of torchrun, and the share of jobs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.errors import UsageError
from sdcli.shard import Shard


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)


def test_without_variables_a_process_works_alone() -> None:
    assert Shard.from_environment() == Shard()
    assert Shard().is_whole_run


def test_torchrun_sets_the_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    shard = Shard.from_environment()
    assert (shard.rank, shard.world_size, shard.local_rank) == (5, 8, 1)
    assert not shard.is_whole_run


@pytest.mark.parametrize(
    ("rank", "world_size", "local_rank"),
    [("2", "2", "0"), ("-1", "2", "0"), ("0", "many", "0"), ("0", "²", "0"), ("0", "2", "x")],
)
def test_variables_that_describe_no_shard_are_an_error(
    rank: str, world_size: str, local_rank: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", world_size)
    monkeypatch.setenv("LOCAL_RANK", local_rank)
    with pytest.raises(UsageError) as caught:
        Shard.from_environment()
    assert caught.value.code == "usage.rank"


@given(st.integers(1, 9), st.integers(0, 10_000))
def test_every_job_belongs_to_exactly_one_shard(world_size: int, index: int) -> None:
    shards = [Shard(rank=rank, world_size=world_size) for rank in range(world_size)]
    assert sum(shard.contains(index) for shard in shards) == 1
