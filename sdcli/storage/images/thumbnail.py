"""Make small copies of images."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

from sdcli.storage.images.pixels import to_image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_QUALITY: Final = 75
"""Quality of WebP. An image of the embedded model has 1.2 kB, half as many as a JPEG."""


def encode_thumbnail(pixels: NDArray[np.uint8], size: int) -> bytes:
    """Encode pixels (height, width, 3) as a WebP of at most `size` pixels a side, or smaller."""
    image = to_image(pixels)
    image.thumbnail((size, size))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=_QUALITY, method=6)
    return buffer.getvalue()
