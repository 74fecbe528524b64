"""Test the selection of latents to save, and the names of tensors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.errors import UsageError
from sdcli.latents import KINDS, LatentsSelection, parse_tensor_name, tensor_name


@given(st.sampled_from(["xt", "x0", "eps"]), st.integers(0, 100_000))
def test_names_are_parsed_back(kind: str, step: int) -> None:
    assert parse_tensor_name(tensor_name(kind, step)) == (kind, step)


@pytest.mark.parametrize(
    ("which", "kinds", "names"),
    [
        ("final", None, ["final"]),
        ("final", "x0", ["x0_0004", "final"]),
        ("every:2", "xt", ["xt_0002", "final"]),
        ("steps:3,1", "xt,eps", ["xt_0001", "eps_0001", "xt_0003", "eps_0003", "final"]),
        ("steps:4", "noise, x0", ["noise", "x0_0004", "final"]),
    ],
)
def test_a_selection_names_the_tensors_of_four_steps(
    which: str, kinds: str | None, names: list[str]
) -> None:
    assert LatentsSelection.parse(which, kinds).tensor_names(4) == names


def test_all_names_every_tensor_once() -> None:
    names = LatentsSelection.parse("all").tensor_names(3)
    assert len(names) == len(set(names)) == 1 + 3 * 3
    assert names[-1] == "final"
    assert LatentsSelection.parse("all").kinds == tuple(KINDS)


@pytest.mark.parametrize(
    "which", ["", "last", "every:0", "every:", "every:x", "steps:", "steps:0", "steps:1,", "all:2"]
)
def test_invalid_selections_are_refused(which: str) -> None:
    with pytest.raises(UsageError, match="save-latents"):
        LatentsSelection.parse(which)


def test_unknown_kinds_and_missing_steps_are_refused() -> None:
    with pytest.raises(UsageError, match="'xy' is not one of xt, x0, eps, noise"):
        LatentsSelection.parse("all", "xt,xy")
    with pytest.raises(UsageError, match="no step 9, this run has 4"):
        LatentsSelection.parse("steps:9").tensor_names(4)
