"""Compare the latents of two runs step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sdcli.errors import UsageError

if TYPE_CHECKING:
    from sdcli.storage.latents.latents_file import LatentsFile

PARTING_DISTANCE: Final = 0.05
"""Relative distance above which two runs count as different."""


@dataclass(frozen=True, kw_only=True)
class StepDistance:
    """Distance between two runs after a step; `timesteps` has one entry per run.

    `relative` is the RMSE divided by the second run's own root mean square.
    """

    step: int
    timesteps: tuple[float | None, float | None]
    rmse: float
    relative: float
    cosine: float


@dataclass(frozen=True, kw_only=True)
class LatentsComparison:
    """Distances at every step that both runs have, with rising steps; at least one."""

    distances: tuple[StepDistance, ...]

    @property
    def parting(self) -> int | None:
        """First step with more than `PARTING_DISTANCE` between the runs, None if there is none."""
        return next((d.step for d in self.distances if d.relative > PARTING_DISTANCE), None)

    @property
    def first_difference(self) -> int | None:
        """First step at which any value differs, None if there is none."""
        return next((d.step for d in self.distances if d.rmse > 0), None)

    @property
    def have_equal_timesteps(self) -> bool:
        """Whether the runs were at the same timesteps, to the whole number, at every step."""
        return all(len(set(map(_rounded, d.timesteps))) == 1 for d in self.distances)


def compare_latents(first: LatentsFile, second: LatentsFile, kind: str) -> LatentsComparison:
    """Compare the tensors of one kind at every step that both files have.

    Raises UsageError for latents of different shapes, and for files without a common step.
    """
    check_equal_shapes(first, second, hint="compare runs of one model and one size")
    steps = sorted(set(first.steps(kind)) & set(second.steps(kind)))
    if not steps:
        raise UsageError(
            f"{first.path} and {second.path} have no step of {kind} in common",
            code="latents.no_step",
            hint="save both with --save-latents all",
        )
    return LatentsComparison(
        distances=tuple(_step_distance(first, second, kind, step) for step in steps)
    )


def check_equal_shapes(first: LatentsFile, second: LatentsFile, *, hint: str) -> None:
    """Raise UsageError for files with latents of different shapes."""
    if first.shape != second.shape:
        raise UsageError(
            f"{first.path} has latents of {first.shape}, {second.path} of {second.shape}",
            code="latents.shape",
            hint=hint,
        )


def _step_distance(first: LatentsFile, second: LatentsFile, kind: str, step: int) -> StepDistance:
    from sdcli.numerics.metrics import cosine, rmse

    a, b = first.unit_variance(kind, step), second.unit_variance(kind, step)
    distance, size = rmse(a, b), rmse(b, 0 * b)
    return StepDistance(
        step=step,
        timesteps=(first.timestep(step), second.timestep(step)),
        rmse=distance,
        relative=distance / size if size else float(distance > 0),
        cosine=cosine(a, b),
    )


def _rounded(timestep: float | None) -> str:
    return "" if timestep is None else f"{timestep:.0f}"


def format_timesteps(timesteps: Sequence[float | None]) -> str:
    """Format the timesteps of a step: one number where the runs agree, otherwise both."""
    return " | ".join(dict.fromkeys(map(_rounded, timesteps)))


def describe_comparison(comparison: LatentsComparison) -> list[str]:
    """Describe in sentences where two runs part."""
    first, parting = comparison.first_difference, comparison.parting
    if first is None:
        sentences = ["identical at every step that both runs have"]
    elif parting is None:
        sentences = [f"first difference at step {first}, never more than {PARTING_DISTANCE:.0%}"]
    else:
        sentences = [
            f"first difference at step {first}, "
            f"more than {PARTING_DISTANCE:.0%} apart from step {parting} on"
        ]
    if not comparison.have_equal_timesteps:
        sentences.append(
            "the runs are at different timesteps, so part of the difference is remaining noise"
        )
    return sentences
