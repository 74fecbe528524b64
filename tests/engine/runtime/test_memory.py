"""Batch sizes follow what was measured, and running out of memory is recognised."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sdcli.engine.runtime import memory
from sdcli.engine.runtime.memory import CPU_BATCH_PIXELS, LARGEST_BATCH, MEMORY_SHARE, MemoryModel
from sdcli.errors import DeviceError

GIB = 2**30


def cuda() -> MemoryModel:
    """The arithmetic for CUDA, which needs no such device."""
    return MemoryModel(torch.device("cuda"))


def test_a_batch_is_one_image_until_its_kind_was_measured() -> None:
    model = cuda()
    model.record_peak("512", 1, GIB)
    assert model.max_images("1024", 80 * GIB) == 1


@given(st.integers(1, 64), st.integers(1, 40 * GIB), st.integers(0, 80 * GIB))
def test_a_batch_fits_into_its_share_of_the_free_memory(
    images: int, peak_bytes: int, free: int
) -> None:
    model = cuda()
    model.record_peak("512", images, peak_bytes)
    fitting = model.max_images("512", free)
    assert 1 <= fitting <= LARGEST_BATCH
    assert fitting == 1 or fitting * peak_bytes / images <= MEMORY_SHARE * free


def test_the_largest_peak_per_image_counts() -> None:
    model = cuda()
    model.record_peak("512", 1, 2 * GIB)
    model.record_peak("512", 8, 8 * GIB)
    assert model.max_images("512", 20 * GIB) == 8


def test_another_run_measures_anew() -> None:
    model = cuda()
    model.record_peak("512", 1, GIB)
    model.record_out_of_memory("512", 24)
    model.forget()
    assert model.max_images("512", 80 * GIB) == 1
    model.record_peak("512", 1, GIB // 64)
    assert model.max_images("512", 80 * GIB) == LARGEST_BATCH


def test_a_batch_size_that_did_not_fit_is_not_tried_again() -> None:
    model = cuda()
    model.record_peak("512", 1, GIB // 64)
    model.record_out_of_memory("512", 24)
    assert model.max_images("512", 80 * GIB) == 12
    model.record_out_of_memory("512", 1)
    assert model.max_images("512", 80 * GIB) == 1


def test_a_cpu_batch_has_just_enough_pixels_to_keep_it_busy() -> None:
    model = MemoryModel(torch.device("cpu"))
    assert model.batch_size("128", 128 * 128) == CPU_BATCH_PIXELS // 128**2
    assert model.batch_size("1024", 1024 * 1024) == 1
    model.record_out_of_memory("128", 4)
    assert model.batch_size("128", 128 * 128) == 2
    with model.recording("128", 8):
        pass
    assert model.batch_size("128", 128 * 128) == 2


def test_an_allocation_that_really_fails_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50, dtype=torch.uint8)
    assert memory.is_out_of_memory(caught.value)
    assert memory.is_out_of_memory(torch.OutOfMemoryError("CUDA"))
    assert not memory.is_out_of_memory(RuntimeError("shapes do not match"))


def test_running_out_of_memory_is_translated_and_other_errors_are_not() -> None:
    device = torch.device("cpu")
    with (
        pytest.raises(DeviceError, match="some-model does not fit into the memory of cpu"),
        memory.out_of_memory_as_device_error("some-model", device),
    ):
        torch.empty(2**50, dtype=torch.uint8)
    with (
        pytest.raises(RuntimeError, match="shapes"),
        memory.out_of_memory_as_device_error("some-model", device),
    ):
        raise RuntimeError("shapes do not match")
