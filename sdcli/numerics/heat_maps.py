"""Turn attention probabilities into one heat map for each word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

Tokens = Sequence[int]


def word_maps(maps: NDArray[Any], words: Sequence[Tokens]) -> NDArray[Any]:
    """Return the attention (words, height, width) that the tokens of each word get together."""
    import numpy as np

    return np.stack([maps[list(tokens)].sum(0) for tokens in words])


def relative_maps(
    maps: NDArray[Any], words: Sequence[Tokens], content: Sequence[Tokens]
) -> NDArray[Any]:
    """Return heat maps (words, height, width), at least 0, that can be compared with each other.

    Each word's attention is divided by its own mean over the image. The mean of these maps over
    the `content` words, which show where the prompt as a whole is drawn, is subtracted: what is
    left is what the word gets more than the others. A prompt of one content word is compared with
    attention that is the same everywhere.
    """
    import numpy as np

    own = _over_own_mean(word_maps(maps, words))
    shared: Any = 1.0
    if len(content) > 1:
        shared = _over_own_mean(word_maps(maps, content)).mean(0)
    relative: NDArray[Any] = np.clip(own - shared, 0.0, None)
    return relative


def _over_own_mean(maps: NDArray[Any]) -> NDArray[Any]:
    means: NDArray[Any] = maps.mean((1, 2), keepdims=True)
    # Attention in half precision may be 0 everywhere.
    relative: NDArray[Any] = maps / means.clip(1e-12)
    return relative


def stretch(maps: NDArray[Any], weights: Sequence[float] | None = None) -> NDArray[Any]:
    """Stretch maps (n, height, width) to 0..1: each on its own, or all together by `weights`."""
    if weights is None:
        low = maps.min((1, 2), keepdims=True)
        stretched: NDArray[Any] = (maps - low) / (maps - low).max((1, 2), keepdims=True).clip(1e-12)
        return stretched
    weighted: NDArray[Any] = maps * [[[weight]] for weight in weights]
    common: NDArray[Any] = weighted / max(float(weighted.max()), 1e-12)
    return common
