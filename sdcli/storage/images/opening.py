"""Open image files that may be damaged or hostile."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdcli.errors import CorruptError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

_UNREADABLE: Final = (
    OSError, ValueError, SyntaxError, KeyError, TypeError, IndexError, AttributeError,
    EOFError, OverflowError, MemoryError, struct.error, zlib.error,
)  # fmt: skip
"""Exceptions of Pillow for damaged files. It has no common base class for them."""


@contextmanager
def open_image(path: Path) -> Iterator[Image]:
    """Open an image and decode its pixels.

    Raises UsageError when there is no file. Raises CorruptError when it is not an image, is
    damaged or too large, also when the damage only shows in the block of the `with` statement.
    """
    from PIL import Image as pillow  # noqa: N813 - the module, beside its class of that name

    if not path.is_file():
        raise UsageError(f"no file at {path}", code="usage.file")
    try:
        with warnings.catch_warnings(), pillow.open(path) as image:
            # Odd metadata only warns, and damaged pixels raise.
            warnings.simplefilter("ignore")
            image.load()
            yield image
    except (*_UNREADABLE, pillow.DecompressionBombError) as error:
        raise corrupt_image_error(path, f"not a readable image ({error})") from error


def corrupt_image_error(path: Path, problem: str) -> CorruptError:
    """Build the error for an image that cannot be read, or whose record cannot."""
    return CorruptError(
        f"{path}: {problem}",
        code="image.corrupt",
        hint="the file may be damaged; recreate or copy it again",
    )
