"""Show images while they are generated, as each step predicts their final latents."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from sdcli.latents import FINAL, X0, LatentsSelection, parse_tensor_name
from sdcli.pipeline_spec import PipelineSpec
from sdcli.result import RunInfo
from sdcli.storage import files
from sdcli.storage.images.codec import encode_image
from sdcli.storage.images.destination import Destination

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sdcli.latents import LatentsRenderer


MAX_TIME_SHARE: Final = 0.015
"""The part of a run's time that rendering may take: with the copies it needs, less than 3 %."""


class PreviewTarget(Protocol):
    """A place where previews are shown."""

    def show(self, pixels: NDArray[np.uint8], step: int, steps: int) -> None:
        """Show pixels (height, width, 3) in place of the last ones. May raise OutputError."""


class PreviewSink:
    """A LatentsSink that shows the predicted clean latents of the first image of a batch.

    Steps are left out where rendering would take more than MAX_TIME_SHARE of the time, but never
    the last one. `find_renderer` gives the renderer for a model.
    """

    selection = LatentsSelection(kinds=(X0,), every=1)

    def __init__(
        self,
        find_renderer: Callable[[PipelineSpec], LatentsRenderer],
        targets: Sequence[PreviewTarget],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find_renderer = find_renderer
        self._targets = targets
        self._clock = clock
        self._renderers: dict[PipelineSpec, LatentsRenderer] = {}
        self._run: RunInfo | None = None
        self._has_latents = False
        self._next_time = 0.0

    def begin_image(self, run: RunInfo) -> None:
        """Take the first image of a batch as the one to show."""
        # All images of a batch begin before its first latents: any later one begins a new batch.
        if self._run is not None and not self._has_latents:
            return
        self._run, self._has_latents = run, False
        spec = run.job.spec
        if spec not in self._renderers:
            self._renderers = {spec: self._find_renderer(spec)}

    def write(self, index: int, name: str, array: NDArray[Any]) -> None:
        """Show the latents, if they are of the image to show and enough time has passed."""
        self._has_latents = True
        if self._run is None or index != self._run.job.index:
            return
        steps = len(self._run.timesteps)
        parsed = parse_tensor_name(name)
        if parsed is None:
            if name == FINAL:
                self._show(array, self._run, steps)
        # The last step comes as FINAL, too.
        elif parsed[1] < steps and self._clock() >= self._next_time:
            self._show(array, self._run, parsed[1])

    def _show(self, latents: NDArray[Any], run: RunInfo, step: int) -> None:
        start = self._clock()
        pixels = self._renderers[run.job.spec](latents)
        for target in self._targets:
            target.show(pixels, step, len(run.timesteps))
        end = self._clock()
        self._next_time = end + (end - start) * (1 / MAX_TIME_SHARE - 1)


class PreviewFile:
    """An image file that is replaced atomically by each preview."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination

    def show(self, pixels: NDArray[np.uint8], step: int, steps: int) -> None:
        """Replace the file. Raises OutputError."""
        data = encode_image(pixels, self._destination.suffix, None)
        files.write_atomic(self._destination.path, data, force=True)
