"""How many images fit in a batch: by what was measured, and never more than what did not fit."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from sdcli.engine.runtime.memory import CPU_BATCH_PIXELS, LARGEST_BATCH, MEMORY_SHARE, MemoryModel

GIB = 2**30


def cuda() -> MemoryModel:
    """The arithmetic for CUDA, without one."""
    return MemoryModel(torch.device("cuda"))


def test_before_anything_was_measured_a_batch_is_one_image() -> None:
    model = cuda()
    model.record_peak("512", 1, GIB)
    assert model.max_images("1024", 80 * GIB) == 1


@given(st.integers(1, 64), st.integers(1, 40 * GIB), st.integers(0, 80 * GIB))
def test_what_was_measured_fits_into_its_share_of_what_is_free(
    images: int, taken: int, free: int
) -> None:
    model = cuda()
    model.record_peak("512", images, taken)
    fitting = model.max_images("512", free)
    assert 1 <= fitting <= LARGEST_BATCH
    assert fitting == 1 or fitting * taken / images <= MEMORY_SHARE * free


def test_the_worst_that_was_measured_counts() -> None:
    model = cuda()
    model.record_peak("512", 1, 2 * GIB)
    model.record_peak("512", 8, 8 * GIB)
    assert model.max_images("512", 20 * GIB) == 8


def test_a_batch_that_did_not_fit_is_not_tried_again() -> None:
    model = cuda()
    model.record_peak("512", 1, GIB // 64)
    model.record_out_of_memory("512", 24)
    assert model.max_images("512", 80 * GIB) == 12
    model.record_out_of_memory("512", 1)
    assert model.max_images("512", 80 * GIB) == 1


def test_a_cpu_is_kept_busy_and_no_more() -> None:
    model = MemoryModel(torch.device("cpu"))
    assert model.batch_size("128", 128 * 128) == CPU_BATCH_PIXELS // 128**2
    assert model.batch_size("1024", 1024 * 1024) == 1
    model.record_out_of_memory("128", 4)
    assert model.batch_size("128", 128 * 128) == 2
    with model.recording("128", 8):
        pass
    assert model.batch_size("128", 128 * 128) == 2
