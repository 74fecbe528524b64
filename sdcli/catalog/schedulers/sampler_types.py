"""Define the rows of the sampler table and of the schedule table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

UnetCallFormula = Literal["N", "N+1", "2N-1"]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A way to spread the noise levels, and the constructor options that select it.

    `package` is an additional Python package that Diffusers needs for it.
    """

    name: str
    aliases: tuple[str, ...]
    config: Mapping[str, object] = field(default_factory=dict)
    package: str | None = None


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """A sampler under its A1111 name, and the Diffusers class and options that implement it.

    Attributes:
        order: order of the solver.
        config: constructor options that the name implies.
        schedules: names of the rows of SCHEDULES that it accepts. "Normal" is the spacing in
            `config`.
        default_schedule: the schedule that is identical to "Normal", if there is one.
        automatic: the schedule that A1111 selects for "Automatic".
        unsupported_schedules: schedules that the class accepts but does badly or ignores, each
            with the reason.
        unet_call_formula: UNet calls for N steps.
        takes_eta: whether `eta` has an effect.
        is_multistep: whether a step depends on the results of earlier steps.
        min_steps, max_steps: the range of steps that works.
        package: an additional Python package that Diffusers needs for it.
    """

    name: str
    class_name: str
    order: int
    aliases: tuple[str, ...] = ()
    config: Mapping[str, object] = field(default_factory=dict)
    schedules: tuple[str, ...] = ("Normal",)
    default_schedule: str | None = None
    automatic: str = "Normal"
    unsupported_schedules: Mapping[str, str] = field(default_factory=dict)
    unet_call_formula: UnetCallFormula = "N"
    stochastic: bool = False
    takes_eta: bool = False
    is_multistep: bool = True
    min_steps: int = 1
    max_steps: int = 1000
    package: str | None = None
    note: str = ""

    @property
    def resumes_from_latents(self) -> bool:
        """Whether a run can be resumed from the latents of one step alone, at an eta of 0."""
        return not (self.is_multistep or self.stochastic)

    def unet_calls(self, num_inference_steps: int) -> int:
        """Return the number of UNet calls for that many steps.

        With guidance, each call has a batch twice as large.
        """
        match self.unet_call_formula:
            case "N":
                return num_inference_steps
            case "N+1":
                # PLMS repeats its second timestep, which a run of one step does not have.
                return num_inference_steps + 1 if num_inference_steps > 1 else 1
            case "2N-1":
                # Two calls a step, except for the last one, which ends at a noise level of zero.
                return 2 * num_inference_steps - 1
