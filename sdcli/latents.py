"""What is kept of a run's latents: as asked for, as the engine tells it, as a file names it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from sdcli.errors import UsageError, did_you_mean
from sdcli.result import RunInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    LatentsRenderer = Callable[[NDArray[Any]], NDArray[np.uint8]]
    """Turns latents (4, height/8, width/8) into pixels (height, width, 3)."""

XT, X0, MODEL_OUTPUT, NOISE = "xt", "x0", "eps", "noise"
KINDS: Final[Mapping[str, str]] = {
    XT: "the noisy latents after a step",
    X0: "the clean latents that the model predicted in it",
    MODEL_OUTPUT: "what the UNet said in it, guidance included, in the model's own prediction type",
    NOISE: "the noise that the image began as",
}
RESUMED_PREFIX: Final = "steps up to"
"""How the event of an image begins that went on from the latents of another request."""

FINAL: Final = "final"
"""The name of the last latents: every whole dump has them."""

_TENSOR_NAME = re.compile(r"(xt|x0|eps)_(\d{4,})")


def tensor_name(kind: str, step: int) -> str:
    """How a file names the tensor of a kind after `step` scheduler steps: "x0_0007"."""
    return f"{kind}_{step:04d}"


def parse_tensor_name(name: str) -> tuple[str, int] | None:
    """The inverse of `tensor_name`, None for any other name."""
    match = _TENSOR_NAME.fullmatch(name)
    return (match[1], int(match[2])) if match else None


@dataclass(frozen=True, kw_only=True)
class LatentsSelection:
    """Which latents to keep: every n-th step or the named ones; with neither, the last alone.

    A step is one of the scheduler's, counted from 1: Heun takes 7 for `--steps 4`.
    """

    kinds: tuple[str, ...] = (XT,)
    every: int | None = None
    steps: tuple[int, ...] = ()

    @classmethod
    def parse(cls, which: str, kinds: str | None = None) -> LatentsSelection:
        """`final`, `all`, `every:5` or `steps:1,5,9`, and kinds as in `xt,x0`.

        Left out, the kinds are the last latents for `final`, and all of KINDS otherwise, which is
        what `latents resume` needs. Raises UsageError.
        """
        kept = _parse_kinds(kinds) if kinds else (XT,) if which == "final" else tuple(KINDS)
        if which in ("final", "all"):
            return cls(kinds=kept, every=1 if which == "all" else None)
        word, _, numbers = which.partition(":")
        if word == "every" and re.fullmatch(r"[1-9]\d{0,3}", numbers):
            return cls(kinds=kept, every=int(numbers))
        if word == "steps" and re.fullmatch(r"[1-9]\d{0,3}(,[1-9]\d{0,3})*", numbers):
            return cls(kinds=kept, steps=tuple(sorted({int(n) for n in numbers.split(",")})))
        raise UsageError(
            f"--save-latents: {which!r} is not final, all, every:N or steps:1,5,9",
            code="usage.save_latents",
            hint=_EXAMPLES.get(word) or did_you_mean(word, ("final", "all", *_EXAMPLES)),
        )

    @classmethod
    def coerce(cls, asked: LatentsSelection | str | None) -> LatentsSelection | None:
        """The same, whether given as text or already understood."""
        return cls.parse(asked) if isinstance(asked, str) else asked

    def tensor_names(self, last: int) -> list[str]:
        """The names of all that a run of `last` scheduler steps leaves, in the order it comes.

        Raises UsageError for a step that the run does not have.
        """
        if self.steps and self.steps[-1] > last:
            raise UsageError(
                f"--save-latents: there is no step {self.steps[-1]}, this run has {last}",
                code="usage.save_latents",
            )
        names = [NOISE] if NOISE in self.kinds else []
        for step in range(1, last + 1):
            kinds = [
                k for k in (XT, X0, MODEL_OUTPUT) if k in self.kinds and self._takes(step, last)
            ]
            names += [tensor_name(k, step) for k in kinds if (k, step) != (XT, last)]
        return [*names, FINAL]

    def _takes(self, step: int, last: int) -> bool:
        if self.every:
            return step % self.every == 0
        return step in self.steps if self.steps else step == last


_EXAMPLES: Final = {"every": "as in every:5", "steps": "as in steps:1,5,9"}


def _parse_kinds(text: str) -> tuple[str, ...]:
    asked = [word.strip() for word in text.split(",")]
    for word in asked:
        if word not in KINDS:
            raise UsageError(
                f"--latents-kinds: {word!r} is not one of {', '.join(KINDS)}",
                code="usage.latents_kinds",
            )
    return tuple(kind for kind in KINDS if kind in asked)


class LatentsSink(Protocol):
    """Who takes the latents as they come. May raise SdcliError, which ends the run."""

    @property
    def selection(self) -> LatentsSelection:
        """What to hand over."""

    def begin_image(self, course: RunInfo) -> None:
        """An image begins, or begins again: what was taken of it before is void."""

    def write(self, index: int, name: str, array: NDArray[Any]) -> None:
        """A tensor (4, height/8, width/8) of job `index`, in the order of `wanted.tensors`.

        FINAL comes last, and before the image is decoded.
        """


@dataclass(frozen=True, kw_only=True, eq=False)
class ResumePoint:
    """Where a run goes on: `outputs` are what the UNet said in the steps before, which are replayed
    to the bit; or, with none, `latents` are put in after `step` steps, or where `step` is None at
    the step nearest to their noise level `sigma`.

    Arrays are (4, height/8, width/8); `noise`, `outputs`, and `latents` for a `step`, as the dump
    has them. Else `latents` have variance 1 (x / sqrt(1 + sigma²)), and `direction` is the
    predicted noise in them. `notes` are sentences for the record of the image.
    """

    outputs: tuple[NDArray[Any], ...] = ()
    noise: NDArray[Any] | None = None
    latents: NDArray[Any] | None = None
    direction: NDArray[Any] | None = None
    sigma: float = 0.0
    step: int | None = None
    notes: tuple[str, ...] = ()


class LatentsSource(Protocol):
    """A dump as who goes on from it needs it."""

    @property
    def path(self) -> Path:
        """Its file."""

    @property
    def record(self) -> Mapping[str, Any]:
        """The record of its run, as far as that went."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of each of its tensors: (channels, height/8, width/8)."""

    @property
    def num_steps(self) -> int:
        """The scheduler's steps of its whole run."""

    def steps(self, kind: str) -> list[int]:
        """The steps of which it has that kind."""

    def tensor(self, kind: str, step: int) -> NDArray[Any]:
        """One tensor (4, height/8, width/8). Raises UsageError when it is not there."""

    def tensor_by_name(self, name: str) -> NDArray[Any]:
        """The tensor of that name, which must be there."""
