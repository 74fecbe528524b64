"""The parts of a Ray run that need no cluster."""

from __future__ import annotations

import pickle
from pathlib import Path
from threading import Event, Timer

import pytest

from sdcli.distributed.messages import Busy
from sdcli.distributed.ray_connection import connection_error, set_environment
from sdcli.distributed.ray_run import gpu_share, take_blocks
from sdcli.prompts.sources import IterableSource
from sdcli.request import GenerationRequest
from sdcli.storage.jobs.leases import JobLeases
from tests.distributed.runs import opened_run
from tests.jobs import CPU


@pytest.mark.parametrize(
    ("gpus", "actors", "share"),
    [
        (0, 3, None),
        (1, 1, 1.0),
        (8, 2, 1.0),
        (2, 4, 0.5),
        (2, 3, 0.5),
        (1, 3, 0.3333),
        (1, 6, 0.1666),
        (3, 7, 0.3333),
        (2, 256, 0.0078),
    ],
)
def test_all_actors_find_room_on_the_gpus(gpus: int, actors: int, share: float | None) -> None:
    assert gpu_share(gpus, actors) == share
    if share:
        assert gpus * (10_000 // round(share * 10_000)) >= actors


@pytest.mark.parametrize(
    ("address", "before", "mode"),
    [
        ("10.0.0.1:6379", {"RAY_AUTH_TOKEN": "secret"}, "token"),
        ("auto", {"RAY_AUTH_TOKEN_PATH": "token.txt"}, "token"),
        ("auto", {"RAY_AUTH_TOKEN": "secret", "RAY_AUTH_MODE": "disabled"}, "disabled"),
        ("auto", {}, None),
        ("local", {"RAY_AUTH_TOKEN": "secret"}, None),
    ],
)
def test_a_token_is_used_unless_ray_is_told_otherwise(
    address: str, before: dict[str, str], mode: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", environment := dict(before))
    set_environment(address)
    assert environment.get("RAY_AUTH_MODE") == mode
    assert environment["RAY_USAGE_STATS_ENABLED"] == "0"


@pytest.mark.parametrize(
    ("error", "cause", "message"),
    [
        (OSError(111, "Connection refused"), None, "--ray auto: Connection refused"),
        (
            ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:1"),
            RuntimeError("Failed\nRPC error: InvalidAuthToken: Authentication token is missing"),
            "--ray auto: the authentication token is missing or wrong",
        ),
        (
            ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:1"),
            RuntimeError("Failed\nTimed out while waiting for GCS to become available."),
            "--ray auto: no Ray cluster answers at 10.0.0.1:1",
        ),
        (ValueError("What. And how."), None, "--ray auto: What"),
    ],
)
def test_the_reason_why_no_cluster_is_joined_is_told(
    error: Exception, cause: Exception | None, message: str
) -> None:
    error.__cause__ = cause
    assert connection_error("auto", error).message == message


@pytest.mark.parametrize("address", ["auto", "10.0.0.1:6379", "local"])
def test_ray_does_not_try_for_minutes(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", environment := dict[str, str]())
    set_environment(address)
    joins = address != "local"
    assert environment.get("RAY_NUM_REDIS_GET_RETRIES") == ("1" if joins else None)
    assert environment.get("RAY_py_gcs_connect_timeout_s") == ("10" if joins else None)


class SilentSource:
    """A stream that has one request at first, and then none until it is over."""

    wildcards = None

    def __init__(self) -> None:
        self.is_over = Event()
        self._requests = [GenerationRequest(prompt="a cat", seed=1, spec=CPU)]

    def take(self, limit: int, *, wait: bool) -> list[GenerationRequest]:
        del limit
        if not self._requests and wait:
            self.is_over.wait()
        return [self._requests.pop()] if self._requests else []


def test_ctrl_c_ends_the_wait_for_a_stream(tmp_path: Path) -> None:
    source = SilentSource()
    with opened_run(tmp_path, source) as run:
        [block] = take_blocks(run, 1)
        assert [job.prompt for job in pickle.loads(block)] == ["a cat"]
        timer = Timer(0.2, lambda: setattr(run.interrupts, "interrupted", True))
        timer.start()
        assert take_blocks(run, 1) == []
        assert run.is_ending
        timer.join()
        source.is_over.set()


def test_no_actor_starts_for_an_image_that_another_run_is_making(tmp_path: Path) -> None:
    requests = [GenerationRequest(prompt="a cat", seed=1, spec=CPU)]
    with opened_run(tmp_path, IterableSource(requests)) as run:
        [block] = take_blocks(run, 1)
        [job] = pickle.loads(block)
        other = JobLeases(tmp_path)
        other.acquire((job.id, job.occurrence))
        run.outcomes.handle(Busy((0,), ("another process",)))
        ended: list[bool] = []
        timer = Timer(0.7, lambda: (ended.append(True), other.close()))
        timer.start()
        assert take_blocks(run, 1) == [block]
        assert ended
        timer.join()


def test_all_jobs_of_files_are_taken(tmp_path: Path) -> None:
    requests = [GenerationRequest(prompt=f"a cat {i}", seed=i, spec=CPU) for i in range(5)]
    with opened_run(tmp_path, IterableSource(requests)) as run:
        blocks = [pickle.loads(block) for block in take_blocks(run, 1)]
        assert [len(block) for block in blocks] == [2, 2, 1]
        assert take_blocks(run, 1) == []
