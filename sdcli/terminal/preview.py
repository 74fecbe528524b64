"""A look at the picture while it forms: what each step believes the end will be."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from sdcli.latents import FINAL, X0, LatentsSelection, parse_tensor_name
from sdcli.request import PipelineSpec
from sdcli.result import RunInfo
from sdcli.storage import files
from sdcli.storage.images.codec import encode_image
from sdcli.storage.images.destination import Destination

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sdcli.latents import LatentsRenderer


MAX_TIME_SHARE: Final = 0.015
"""The part of a run's time that looking at it may take. Under 3 % with the copies that it needs."""


class PreviewTarget(Protocol):
    """Where a preview is seen."""

    def show(self, pixels: NDArray[np.uint8], step: int, steps: int) -> None:
        """Show pixels (height, width, 3) in place of what was there. May raise OutputError."""


class PreviewSink:
    """Shows the clean latents that each step predicts; of a batch, those of its first image.

    An engine's LatentsSink. Steps are left out where looking would take more than SHARE of the
    time, but never the last one. `look_of` gives the way of looking for a model.
    """

    selection = LatentsSelection(kinds=(X0,), every=1)

    def __init__(
        self,
        look_of: Callable[[PipelineSpec], LatentsRenderer],
        screens: Sequence[PreviewTarget],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look_of = look_of
        self._screens = screens
        self._clock = clock
        self._looks: dict[PipelineSpec, LatentsRenderer] = {}
        self._course: RunInfo | None = None
        self._taking = False
        self._next = 0.0

    def begin_image(self, course: RunInfo) -> None:
        """An image of the next batch; the first of them is the one to see."""
        if self._course is None or self._taking:
            self._course, self._taking = course, False
            if course.job.spec not in self._looks:
                self._looks = {course.job.spec: self._look_of(course.job.spec)}

    def write(self, index: int, name: str, array: NDArray[Any]) -> None:
        """Show the latents, if they are of the image to see and it is time."""
        self._taking = True
        course = self._course
        if course is None or index != course.job.index:
            return
        steps = len(course.timesteps)
        parsed = parse_tensor_name(name)
        if parsed is None:
            if name == FINAL:
                self._show(array, course, steps)
        elif parsed[1] < steps and self._clock() >= self._next:  # the last comes as FINAL, too
            self._show(array, course, parsed[1])

    def _show(self, latents: NDArray[Any], course: RunInfo, step: int) -> None:
        started = self._clock()
        pixels = self._looks[course.job.spec](latents)
        for screen in self._screens:
            screen.show(pixels, step, len(course.timesteps))
        now = self._clock()
        self._next = now + (now - started) * (1 / MAX_TIME_SHARE - 1)


class PreviewFile:
    """An image file that is always whole, and always the newest."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination

    def show(self, pixels: NDArray[np.uint8], step: int, steps: int) -> None:
        """Replace the file. Raises OutputError."""
        data = encode_image(pixels, self._destination.suffix, None)
        files.write_atomic(self._destination.path, data, force=True)
