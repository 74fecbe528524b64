"""Latents of runs, and sources of them to resume from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdcli import engine
from sdcli.job import Job
from sdcli.latents import parse_tensor_name


@dataclass
class MemorySource:
    """A LatentsSource of the arrays that a run returned."""

    arrays: dict[str, NDArray[Any]]
    num_steps: int
    record: dict[str, Any] = field(default_factory=dict)
    path: Path = Path("cat.latents.safetensors")

    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = next(iter(self.arrays.values())).shape
        return channels, height, width

    def steps(self, kind: str) -> list[int]:
        parsed = [parse_tensor_name(name) for name in self.arrays]
        found = [step for name in parsed if name for k, step in [name] if k == kind]
        return [*([0] if kind == "xt" and "noise" in self.arrays else []), *found]

    def tensor(self, kind: str, step: int) -> NDArray[Any]:
        return self.arrays["noise" if (kind, step) == ("xt", 0) else f"{kind}_{step:04d}"]

    def tensor_by_name(self, name: str) -> NDArray[Any]:
        return self.arrays[name]


def record(loaded: Any, job: Job, kinds: tuple[str, ...] = ("xt", "x0", "eps", "noise")) -> Any:
    """Run a job; returns its result and a source of its latents of these kinds."""
    [result] = engine.generate_batch(loaded, [job], save_latents="all")
    assert result.latents is not None
    arrays = {
        name: array
        for name, array in result.latents.items()
        if name.split("_")[0] in (*kinds, "final")
    }
    return result, MemorySource(arrays, len(result.run.timesteps))


def latents_of(loaded: Any, job: Job, **options: Any) -> np.ndarray:
    """The latents after the last step of a job."""
    [result] = engine.generate_batch(loaded, [job], save_latents="final", **options)
    assert result.latents is not None
    final: np.ndarray = result.latents["final"]
    return final
