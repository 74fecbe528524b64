"""Vocabulary of saved latents: selection, tensor names, and the protocols of readers and sinks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from sdcli.errors import UsageError, did_you_mean, quoted
from sdcli.result import RunInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    LatentsRenderer = Callable[[NDArray[Any]], NDArray[np.uint8]]
    """Converts latents (4, height/8, width/8) to pixels (height, width, 3)."""

XT, X0, MODEL_OUTPUT, NOISE = "xt", "x0", "eps", "noise"
KINDS: Final[Mapping[str, str]] = {
    XT: "the noisy latents after a step",
    X0: "the clean latents that the model predicts in a step",
    MODEL_OUTPUT: "the UNet's output in a step, with guidance, in the model's prediction type",
    NOISE: "the initial noise of the image, or the input image with its noise",
}
"""Kinds of tensors that a file can have, with their descriptions."""

FINAL: Final = "final"
"""Name of the last latents, which every complete file has."""

RESUMED_PREFIX: Final = "steps up to"
"""Beginning of the event of an image whose first steps came from another run."""

_TENSOR_NAME = re.compile(r"(xt|x0|eps)_([0-9]{4,9})")


def tensor_name(kind: str, step: int) -> str:
    """Return the name of the tensor of a kind after `step` scheduler steps, such as "x0_0007"."""
    return f"{kind}_{step:04d}"


def parse_tensor_name(name: str) -> tuple[str, int] | None:
    """Parse the name of a tensor to its kind and step; None for any other name."""
    match = _TENSOR_NAME.fullmatch(name)
    return (match[1], int(match[2])) if match else None


def is_resumed_event(event: object) -> bool:
    """Whether an event says that the first steps of an image came from another run."""
    return isinstance(event, str) and event.startswith(RESUMED_PREFIX)


@dataclass(frozen=True, kw_only=True)
class LatentsSelection:
    """The latents to save: of every n-th step, of the named steps, or else of the last step.

    Steps are those of the scheduler, counted from 1: Heun takes 7 steps for `--steps 4`. The final
    latents are always saved.
    """

    kinds: tuple[str, ...] = (XT,)
    every: int | None = None
    steps: tuple[int, ...] = ()

    @classmethod
    def parse(cls, steps: str, kinds: str | None = None) -> LatentsSelection:
        """Parse `final`, `all`, `every:5` or `steps:1,5,9`, and kinds such as `xt,x0`.

        The default kinds are those that `latents resume` needs: all, and for `final` the final
        latents alone. Raises UsageError.
        """
        selected = _parse_kinds(kinds) if kinds else (XT,) if steps == "final" else tuple(KINDS)
        if steps in ("final", "all"):
            return cls(kinds=selected, every=1 if steps == "all" else None)
        word, _, numbers = steps.partition(":")
        if word == "every" and re.fullmatch(r"[1-9]\d{0,3}", numbers):
            return cls(kinds=selected, every=int(numbers))
        if word == "steps" and re.fullmatch(r"[1-9]\d{0,3}(,[1-9]\d{0,3})*", numbers):
            return cls(kinds=selected, steps=tuple(sorted({int(n) for n in numbers.split(",")})))
        raise UsageError(
            f"--save-latents: {quoted(steps)} is not final, all, every:N or steps:1,5,9",
            code="usage.save_latents",
            hint=_EXAMPLES.get(word) or did_you_mean(word, ("final", "all", *_EXAMPLES)),
        )

    @classmethod
    def coerce(cls, selection: LatentsSelection | str | None) -> LatentsSelection | None:
        """Parse a selection given as text; return any other value unchanged."""
        return cls.parse(selection) if isinstance(selection, str) else selection

    def tensor_names(self, last: int) -> list[str]:
        """Return the names of all tensors of a run with `last` scheduler steps, in file order.

        Raises UsageError for a step that the run does not have.
        """
        if self.steps and self.steps[-1] > last:
            raise UsageError(
                f"--save-latents: there is no step {self.steps[-1]}, this run has {last}",
                code="usage.save_latents",
            )
        names = [NOISE] if NOISE in self.kinds else []
        for step in range(1, last + 1):
            if self._includes(step, last):
                kinds = [kind for kind in (XT, X0, MODEL_OUTPUT) if kind in self.kinds]
                # The last x_t is the tensor "final".
                names += [tensor_name(kind, step) for kind in kinds if (kind, step) != (XT, last)]
        return [*names, FINAL]

    def _includes(self, step: int, last: int) -> bool:
        if self.every:
            return step % self.every == 0
        return step in self.steps if self.steps else step == last


_EXAMPLES: Final = {"every": "as in every:5", "steps": "as in steps:1,5,9"}


def _parse_kinds(text: str) -> tuple[str, ...]:
    kinds = [word.strip() for word in text.split(",")]
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(
                f"--latents-kinds: {quoted(kind)} is not one of {', '.join(KINDS)}",
                code="usage.latents_kinds",
            )
    return tuple(kind for kind in KINDS if kind in kinds)


class LatentsSink(Protocol):
    """Receiver of latents during a run. Its methods may raise SdcliError, which ends the run."""

    @property
    def selection(self) -> LatentsSelection:
        """The tensors that the sink is to receive."""

    def begin_image(self, run: RunInfo) -> None:
        """Begin an image, or begin it again: tensors received for it before are void.

        A batch begins again, in halves, after it ran out of memory.
        """

    def write(self, index: int, name: str, array: NDArray[Any]) -> None:
        """Receive a tensor (4, height/8, width/8) of job `index`.

        Tensors come in the order of `LatentsSelection.tensor_names`: FINAL last, and before the
        image is decoded.
        """


@dataclass(frozen=True, kw_only=True, eq=False)
class ResumePoint:
    """Point at which a run resumes, in one of three ways.

    With `outputs`, the UNet's outputs of the first steps are replayed, which is exact. Otherwise
    `latents` are injected: after `step` steps, or if `step` is None at the step whose noise level
    is nearest to `sigma`. With neither, the run begins with `noise`.

    All arrays are (4, height/8, width/8). `noise`, `outputs`, and `latents` with a `step` are the
    tensors of the file. `latents` without one have variance 1 (x / sqrt(1 + sigma²)), and
    `direction` is the predicted noise in them. `notes` are events for the image's record.
    """

    outputs: tuple[NDArray[Any], ...] = ()
    noise: NDArray[Any] | None = None
    latents: NDArray[Any] | None = None
    direction: NDArray[Any] | None = None
    sigma: float = 0.0
    step: int | None = None
    notes: tuple[str, ...] = ()


class LatentsSource(Protocol):
    """Saved latents of a run, as resuming needs them."""

    @property
    def path(self) -> Path:
        """The path of the file."""

    @property
    def record(self) -> Mapping[str, Any]:
        """The record of the run, as far as the run went."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of every tensor: (channels, height/8, width/8)."""

    @property
    def num_steps(self) -> int:
        """Scheduler steps of the whole run."""

    def steps(self, kind: str) -> list[int]:
        """Return the steps that have a tensor of the kind, rising."""

    def tensor(self, kind: str, step: int) -> NDArray[Any]:
        """Return one tensor (4, height/8, width/8). Raises UsageError when there is none."""

    def tensor_by_name(self, name: str) -> NDArray[Any]:
        """Return an existing tensor by its name."""
