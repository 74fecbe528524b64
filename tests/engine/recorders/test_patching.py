"""Patched methods wrap the original, keep its signature, and are restored."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from sdcli.engine.recorders.patching import patch_method


class Solver:
    def step(self, output: int, *, eta: float = 0.0) -> tuple[int, float]:
        return output, eta


def double(original: Any, output: int, **kwargs: Any) -> Any:
    return original(2 * output, **kwargs)


def test_the_wrapper_gets_the_original_and_the_arguments() -> None:
    solver = Solver()
    with patch_method(solver, "step", double):
        assert solver.step(3, eta=0.5) == (6, 0.5)
        assert Solver().step(3) == (3, 0.0)


def test_the_signature_stays() -> None:
    """Pipelines look there whether a scheduler takes eta and a generator."""
    solver = Solver()
    before = inspect.signature(solver.step)
    with patch_method(solver, "step", double):
        assert inspect.signature(solver.step) == before


def test_the_object_is_as_before_also_after_an_interrupt() -> None:
    solver = Solver()
    with pytest.raises(KeyboardInterrupt), patch_method(solver, "step", double):
        raise KeyboardInterrupt
    assert vars(solver) == {}
    assert solver.step(3) == (3, 0.0)


def test_patches_are_nested_and_the_last_is_outermost() -> None:
    solver = Solver()

    def add_one(original: Any, output: int) -> Any:
        return original(output + 1)

    with patch_method(solver, "step", double):
        inner = vars(solver)["step"]
        with patch_method(solver, "step", add_one):
            assert solver.step(3) == (8, 0.0)
        assert vars(solver)["step"] is inner
    assert vars(solver) == {}
