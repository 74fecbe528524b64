"""Defective results are computed again in float32, and the VAE is restored."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from sdcli.engine.vae.precision_fallback import float32_vae, run_with_float32_fallback


@pytest.fixture
def vae(loaded: Any) -> Any:
    return copy.deepcopy(loaded.pipeline.vae).to(torch.bfloat16)


def find_defect(result: torch.Tensor) -> str:
    return "" if torch.isfinite(result).all() else "not finite"


def test_a_good_result_is_computed_once(vae: Any) -> None:
    calls: list[torch.dtype] = []
    events: list[str] = []

    def work() -> torch.Tensor:
        calls.append(vae.dtype)
        return torch.ones(1)

    result = run_with_float32_fallback(vae, work, find_defect, events, action="decoded")
    assert result == (torch.ones(1), "")
    assert (calls, events) == ([torch.bfloat16], [])


@pytest.mark.parametrize("mended", [True, False])
def test_a_defect_is_computed_again_in_float32(vae: Any, mended: bool) -> None:
    events: list[str] = []

    def work() -> torch.Tensor:
        good = mended and vae.dtype == torch.float32
        return torch.tensor(1.0 if good else float("nan"))

    _, defect = run_with_float32_fallback(vae, work, find_defect, events, action="decoded")
    assert defect == ("" if mended else "not finite")
    assert events == ["VAE: not finite in bfloat16, decoded in float32"]
    assert vae.dtype == torch.bfloat16


def test_float32_is_not_tried_twice(vae: Any) -> None:
    vae.float()
    events: list[str] = []
    calls: list[int] = []

    def work() -> torch.Tensor:
        calls.append(1)
        return torch.tensor(float("nan"))

    _, defect = run_with_float32_fallback(vae, work, find_defect, events, action="encoded")
    assert (defect, events, len(calls)) == ("not finite", [], 1)


def test_the_dtype_is_restored_after_an_interrupt(vae: Any) -> None:
    dtypes: list[torch.dtype] = []

    def interrupt() -> None:
        dtypes.append(vae.dtype)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), float32_vae(vae):
        interrupt()
    assert dtypes == [torch.float32]
    assert vae.dtype == torch.bfloat16
