"""Tensors arrive on the CPU in order, unchanged by what happens to the originals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sdcli.engine.recorders.host_copy import HostCopier, to_array

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("device", DEVICES)
def test_copies_keep_their_values_when_the_original_is_overwritten(device: str) -> None:
    delivered: list[tuple[str, torch.Tensor]] = []
    copier = HostCopier(lambda name, tensor: delivered.append((name, tensor)))
    tensor = torch.ones(4, 64, 64, device=device)
    for step in range(3):
        copier.start([(f"xt_{step}", tensor), (f"x0_{step}", 10 * tensor)])
        tensor += 1
    copier.finish()
    assert [name for name, _ in delivered] == ["xt_0", "x0_0", "xt_1", "x0_1", "xt_2", "x0_2"]
    assert [float(copy.mean()) for _, copy in delivered] == [1, 10, 2, 20, 3, 30]
    assert {copy.device.type for _, copy in delivered} == {"cpu"}


def test_finishing_twice_delivers_once() -> None:
    delivered: list[str] = []
    copier = HostCopier(lambda name, tensor: delivered.append(name))
    copier.start([("final", torch.zeros(1))])
    copier.finish()
    copier.finish()
    assert delivered == ["final"]


@given(
    st.lists(st.floats(width=16, allow_nan=False), min_size=1, max_size=8),
    st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
)
def test_an_array_has_exactly_the_values_of_its_tensor(
    values: list[float], dtype: torch.dtype
) -> None:
    tensor = torch.tensor(values).to(dtype)
    array = to_array(tensor)
    assert array.dtype == (np.float16 if dtype == torch.float16 else np.float32)
    assert array.tolist() == tensor.tolist()


def test_an_array_is_contiguous() -> None:
    transposed = torch.arange(6.0).reshape(2, 3).T
    assert to_array(transposed).flags["C_CONTIGUOUS"]
    assert to_array(transposed).tolist() == transposed.tolist()
