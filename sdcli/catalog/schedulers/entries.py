"""What a row of the sampler table says, and what one of the schedule table does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Calls = Literal["N", "N+1", "2N-1"]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """One way to spread the noise levels, and the constructor options that ask for it."""

    name: str
    aliases: tuple[str, ...]
    config: Mapping[str, object] = field(default_factory=dict)
    package: str | None = None


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """One sampler: A1111's name where it has one, and how Diffusers makes it.

    `schedules` names the rows of SCHEDULES that it takes: "Normal" is the row's own, `natural` the
    one that is the same as that; `automatic` is A1111's own pick. `unfit` tells why the class does
    a schedule badly or does its own whatever is asked. `order` is the solver's. `calls` is the
    number of UNet calls for N steps, `min_steps` the fewest that the class survives, `package` one
    that it needs besides. It `remembers` when its next step depends on its earlier ones, too.
    """

    name: str
    class_name: str
    order: int
    aliases: tuple[str, ...] = ()
    config: Mapping[str, object] = field(default_factory=dict)
    schedules: tuple[str, ...] = ("Normal",)
    natural: str | None = None
    automatic: str = "Normal"
    unsupported_schedules: Mapping[str, str] = field(default_factory=dict)
    unet_call_formula: Calls = "N"
    stochastic: bool = False
    takes_eta: bool = False
    is_multistep: bool = True
    min_steps: int = 1
    max_steps: int = 1000
    package: str | None = None
    note: str = ""

    @property
    def resumes_from_latents(self) -> bool:
        """Whether the latents of a step are enough to go on from it, at an eta of 0."""
        return not (self.is_multistep or self.stochastic)

    def unet_calls(self, num_inference_steps: int) -> int:
        """UNet calls for that many steps (each twice as large with guidance)."""
        match self.unet_call_formula:
            case "N":
                return num_inference_steps
            case "N+1":
                return num_inference_steps + 1 if num_inference_steps > 1 else 1
            case "2N-1":
                return 2 * num_inference_steps - 1
