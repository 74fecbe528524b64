"""Interpolate between the final latents of two runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from sdcli.workflows.compare_latents import check_equal_shapes
from sdcli.workflows.render_latents import RendererOptions, vae_renderer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sdcli.storage.latents.latents_file import LatentsFile


class LatentsBlend:
    """The final latents of two runs, and the VAE to decode them with.

    Raises UsageError when a run was interrupted, or when the latents' shapes differ.
    """

    def __init__(
        self, first: LatentsFile, second: LatentsFile, options: RendererOptions, *, slerp: bool
    ) -> None:
        self.name = f"{first.name}-to-{second.name}"
        self._ends = first.final(), second.final()
        check_equal_shapes(first, second, hint="blend runs of one model and one size")
        self._spec = options.pipeline_spec(first)
        self._tiling = options.tiling
        self._slerp = slerp

    def frames(self, count: int, warn: Callable[[str], None]) -> Iterator[NDArray[np.uint8]]:
        """Decode `count` frames (height, width, 3), at least 2: both ends and those between."""
        from sdcli.numerics.latents import interpolate

        render = vae_renderer(self._spec, self._tiling, warn)
        for frame in range(count):
            fraction = frame / (count - 1)
            yield render(interpolate(*self._ends, fraction, spherical=self._slerp))
