"""When torch's threads spin, and when they sleep."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sdcli.engine.runtime.thread_waiting import (
    busy_reason,
    choose_thread_waiting,
    quota_reason,
)


@pytest.mark.parametrize(
    ("load", "reason"),
    [
        ("0.52 0.40 0.30 3/512 4711\n", "other processes are running: 2"),
        ("25.10 24.00 20.00 26/512 4711\n", "other processes are running: 25"),
        ("0.52 0.40 0.30 1/512 4711\n", None),
        ("0.49 3.00 3.00 9/512 4711\n", None),
        ("", None),
        ("none", None),
    ],
)
def test_other_processes(load: str, reason: str | None) -> None:
    assert busy_reason(load) == reason


@pytest.mark.parametrize(
    ("limit", "cpus", "reason"),
    [
        ("150000 100000\n", 2, "this container may use 1.5 of 2 cores"),
        ("400000 100000\n", 64, "this container may use 4 of 64 cores"),
        ("200000 100000\n", 2, None),
        ("max 100000\n", 64, None),
        ("", 64, None),
    ],
)
def test_a_quota(limit: str, cpus: int, reason: str | None) -> None:
    assert quota_reason(limit, cpus) == reason


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"])
def test_a_choice_of_the_user_is_kept(name: str) -> None:
    environment = {name: "7"}
    assert choose_thread_waiting(environment) is None
    assert environment == {name: "7"}


def test_the_variable_is_set_before_torch_is_imported() -> None:
    script = (
        "import os, sys; import sdcli.engine as engine; assert 'torch' not in sys.modules;"
        "print(os.environ.get('OMP_WAIT_POLICY'), engine.thread_waiting_reason, sep=': ')"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    command = [sys.executable, "-c", script]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    policy, _, reason = printed.stdout.strip().partition(": ")
    assert (policy == "PASSIVE") == (reason != "None")
