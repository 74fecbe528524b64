"""A VAE that runs out of memory is run in smaller pieces, each in a defined order."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from sdcli.engine.vae import memory_fallback
from sdcli.engine.vae.memory_fallback import Generators, run_with_memory_fallback
from sdcli.errors import DeviceError

BATCH = torch.arange(3.0).reshape(3, 1, 1, 1)


@pytest.fixture
def vae(loaded: Any) -> Any:
    return copy.deepcopy(loaded.pipeline.vae)


def failing(times: int, seen: list[Any] | None = None) -> Any:
    """Work that runs out of memory `times` times, and notes the batches that it gets."""
    failures = iter(range(times))

    def work(batch: torch.Tensor, generators: Generators) -> torch.Tensor:
        if seen is not None:
            seen.append(len(batch))
        if next(failures, None) is not None:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 10 * batch

    return work


def test_work_that_fits_is_called_once_and_has_no_events(vae: Any) -> None:
    events: list[str] = []
    batches: list[int] = []
    result = run_with_memory_fallback(vae, BATCH, failing(0, batches), events)
    assert torch.equal(result, 10 * BATCH)
    assert (batches, events) == ([3], [])


def test_slices_give_the_result_of_the_batch(vae: Any) -> None:
    events: list[str] = []
    batches: list[int] = []
    result = run_with_memory_fallback(vae, BATCH, failing(1, batches), events)
    assert torch.equal(result, 10 * BATCH)
    assert batches == [3, 1, 1, 1]
    assert events == ["VAE: out of memory, one image at a time"]


@pytest.mark.parametrize(
    ("images", "tiling", "expected"),
    [
        (3, "auto", ["one image at a time", "in tiles"]),
        (1, "auto", ["in tiles"]),
        (3, "off", ["one image at a time"]),
        (1, "off", []),
        (3, "on", ["one image at a time"]),
        (1, "on", []),
    ],
)
@pytest.mark.parametrize("has_gpu", [False, True])
def test_the_fallbacks_that_are_tried(
    vae: Any,
    monkeypatch: pytest.MonkeyPatch,
    images: int,
    tiling: str,
    expected: list[str],
    has_gpu: bool,
) -> None:
    monkeypatch.setattr(memory_fallback, "can_move_to_cpu", lambda vae: has_gpu)
    events: list[str] = []
    with pytest.raises(DeviceError) as caught:
        run_with_memory_fallback(vae, BATCH[:images], failing(99), events, tiling=tiling)
    assert caught.value.code == "device.memory"
    expected = [*expected, "on the CPU"] if has_gpu else expected
    assert len(events) == len(expected)
    assert all(text in event for text, event in zip(expected, events, strict=True))


@pytest.mark.parametrize("failures", [0, 1, 2, 99])
def test_the_vae_is_restored(vae: Any, monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
    monkeypatch.setattr(memory_fallback, "can_move_to_cpu", lambda vae: True)
    vae.to(torch.bfloat16)
    try:
        run_with_memory_fallback(vae, BATCH, failing(failures), [], tiling="on")
    except DeviceError:
        assert failures == 99
    assert (vae.dtype, vae.use_tiling) == (torch.bfloat16, False)


def test_each_attempt_draws_the_same_noise(vae: Any) -> None:
    attempts = iter(range(2))

    def work(batch: torch.Tensor, generators: Generators) -> torch.Tensor:
        assert generators is not None
        noise = torch.cat([torch.randn(1, generator=generator) for generator in generators])
        if next(attempts) == 0:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return noise

    generators = [torch.Generator().manual_seed(5)]
    result = run_with_memory_fallback(vae, BATCH[:1], work, [], generators=generators)
    assert torch.equal(result, torch.randn(1, generator=torch.Generator().manual_seed(5)))


def test_other_errors_are_passed_on(vae: Any) -> None:
    def work(batch: torch.Tensor, generators: Generators) -> torch.Tensor:
        raise RuntimeError("shapes do not match")

    events: list[str] = []
    with pytest.raises(RuntimeError, match="shapes"):
        run_with_memory_fallback(vae, BATCH, work, events)
    assert events == []
