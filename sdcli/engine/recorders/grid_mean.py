"""Average maps of several sizes."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch.nn import functional

Grid = tuple[int, int]


class GridMean:
    """The mean of maps (images, …, height, width), kept as one sum for each size."""

    def __init__(self) -> None:
        self._sums: dict[Grid, torch.Tensor] = {}
        self._counts: dict[Grid, int] = {}

    def add(self, maps: torch.Tensor, *, grid: Grid | None = None) -> None:
        """Add maps; `grid` is the size that they count as, if it is not their own."""
        size = grid or (maps.shape[-2], maps.shape[-1])
        known = self._sums.get(size)
        # The first sum is a tensor of its own: the caller's may be a part of a larger one.
        self._sums[size] = maps.clone() if known is None else known.add_(maps)
        self._counts[size] = self._counts.get(size, 0) + 1

    def result(self, image: int, without: Grid | None) -> NDArray[Any]:
        """Return the mean (…, height, width) of one image, at the largest size.

        Maps of the size `without` are left out if there are others.
        """
        sizes = [size for size in self._sums if size != without] or list(self._sums)
        target = max((self._sums[size].shape[-2:] for size in sizes), key=lambda s: s[0] * s[1])
        total = sum(_resize(self._sums[size][image], target) for size in sizes)
        assert isinstance(total, torch.Tensor)
        mean: NDArray[Any] = (total / sum(self._counts[size] for size in sizes)).cpu().numpy()
        return mean


def _resize(maps: torch.Tensor, size: torch.Size) -> torch.Tensor:
    if maps.shape[-2:] == size:
        return maps
    flat = maps.reshape(1, -1, *maps.shape[-2:])
    # Bicubic interpolation overshoots next to sharp edges; attention is never below 0.
    larger = functional.interpolate(flat, size=tuple(size), mode="bicubic").clamp_min(0)
    return larger.reshape(*maps.shape[:-2], *size)
