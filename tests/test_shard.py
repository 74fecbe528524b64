"""Shards: the environment variables of torchrun, and the share of jobs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sdcli.errors import UsageError
from sdcli.shard import Shard


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "JOB_COMPLETION_INDEX"):
        monkeypatch.delenv(name, raising=False)
    for name in ("ID", "MIN", "MAX", "STEP", "COUNT"):
        monkeypatch.delenv(f"SLURM_ARRAY_TASK_{name}", raising=False)


def test_without_variables_a_process_works_alone() -> None:
    assert Shard.from_environment() == Shard()
    assert Shard().is_whole_run


def test_one_of_several_processes_needs_its_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert Shard.from_environment() == Shard()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="RANK=, WORLD_SIZE=2 and LOCAL_RANK= do not"):
        Shard.from_environment()


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


def slurm(*values: object) -> dict[str, str]:
    """The variables of a task: its number, the least and the largest one, the step, how many."""
    names = ("ID", "MIN", "MAX", "STEP", "COUNT")
    return {
        f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in zip(names, values, strict=True)
    }


def ranks(rank: object, world_size: object) -> dict[str, str]:
    return {"RANK": str(rank), "WORLD_SIZE": str(world_size)}


@pytest.mark.parametrize(
    ("text", "environment", "share"),
    [
        ("1/1", {}, "1/1"),
        ("1/8", {}, "1/8"),
        ("8/8", {}, "8/8"),
        (" 002/008 ", {}, "2/8"),
        ("2/8", ranks(0, 1), "2/8"),
        ("2/8", slurm(5, 1, 8, 1, 8), "2/8"),
        ("auto", ranks(1, 4), "2/4"),
        ("AUTO/4", ranks(3, 4), "4/4"),
        ("auto", ranks(0, 1), "1/1"),
        ("auto", slurm(1, 1, 8, 1, 8), "1/8"),
        ("auto", slurm(7, 0, 7, 1, 8), "8/8"),
        ("auto/8", slurm(3, 0, 7, 1, 8), "4/8"),
        ("auto", slurm(20, 0, 30, 10, 4), "3/4"),
        ("auto", slurm(3, 3, 3, 1, 1), "1/1"),
        ("auto", ranks(0, 2) | slurm(3, 0, 7, 1, 8), "1/2"),
        ("auto/10", {"JOB_COMPLETION_INDEX": "0"}, "1/10"),
        ("auto/10", {"JOB_COMPLETION_INDEX": "9"}, "10/10"),
    ],
)
def test_spellings_of_a_share(
    text: str, environment: dict[str, str], share: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    shard = Shard.parse(text)
    assert str(shard) == share
    assert Shard.parse(text) == shard


@pytest.mark.parametrize(
    ("text", "environment", "message"),
    [
        ("", {}, "is not I/N"),
        ("3", {}, "is not I/N"),
        ("1/", {}, "is not I/N"),
        ("-1/2", {}, "is not I/N"),
        ("1.5/2", {}, "is not I/N"),
        ("1/2/3", {}, "is not I/N"),
        ("²/3", {}, "is not I/N"),
        ("1/9999999999", {}, "is not I/N"),
        ("0/8", {}, "is no share"),
        ("9/8", {}, "is no share"),
        ("0/0", {}, "is no share"),
        ("1/2", ranks(0, 4), "can't be used with torchrun"),
        ("auto", {}, "finds neither"),
        ("auto/3", {}, "finds neither"),
        ("auto/3", ranks(0, 4), "has 4 shares"),
        ("auto/8", slurm(3, 3, 3, 1, 1), "has 1 share"),
        ("auto", slurm(7, 1, 9, 1, 3), "can't number the tasks"),
        ("auto", slurm(3, 1, 7, 4, 2), "can't number the tasks"),
        ("auto", slurm(1, "x", 7, 1, 7), "needs SLURM_ARRAY_TASK_ID"),
        ("auto", {"SLURM_ARRAY_TASK_ID": "1"}, "needs SLURM_ARRAY_TASK_ID"),
        ("auto", {"JOB_COMPLETION_INDEX": "1"}, "can't know the number of shares"),
        ("auto/2", {"JOB_COMPLETION_INDEX": "2"}, "has no share for JOB_COMPLETION_INDEX=2"),
        ("auto/2", {"JOB_COMPLETION_INDEX": ""}, "has no share for JOB_COMPLETION_INDEX="),
    ],
)
def test_shares_that_can_not_be(
    text: str, environment: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="--shard: ") as caught:
        Shard.parse(text)
    assert message in caught.value.message
    assert caught.value.code == "usage.shard"
    assert caught.value.hint


@given(st.integers(0, 50), st.integers(1, 20), st.integers(1, 40))
def test_the_tasks_of_any_array_have_one_share_each(first: int, step: int, count: int) -> None:
    last = first + (count - 1) * step
    tasks = range(first, last + 1, step)
    with pytest.MonkeyPatch.context() as monkeypatch:
        shards = []
        for task in tasks:
            for name, value in slurm(task, first, last, step, count).items():
                monkeypatch.setenv(name, value)
            shards.append(Shard.parse("auto"))
    assert [shard.rank for shard in shards] == list(range(count))
    assert {shard.world_size for shard in shards} == {count}


def test_the_scripts_of_the_manual_have_as_many_tasks_as_shares() -> None:
    """They are not run by the tests, but a shell and a YAML parser read them."""
    page = Path("sdcli/docs/clusters.md").read_text()
    job, script = (re.search(rf"```{name}\n(.+?)```", page, re.S) for name in ("yaml", "bash"))
    assert job
    assert script
    spec = yaml.safe_load(job[1])["spec"]
    pod = spec["template"]["spec"]
    [container] = pod["containers"]
    assert f"auto/{spec['completions']}" in container["args"]
    assert all(isinstance(word, str) for word in container["args"])
    [mount], [volume] = container["volumeMounts"], pod["volumes"]
    assert mount["name"] == volume["name"]
    array = re.search(r"--array=1-(\d+)", script[1])
    assert array
    assert f"--shard auto/{array[1]} " in script[1]
    subprocess.run(["bash", "-n"], input=script[1], text=True, check=True)
