"""Open image files that may be damaged or hostile."""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdcli.errors import CorruptError, UsageError
from sdcli.inputs.regular_file import check_regular
from sdcli.storage.images.pixel_limit import check_pixel_count, too_large_error

if TYPE_CHECKING:
    from PIL.Image import Image

_UNREADABLE: Final = (
    OSError, ValueError, SyntaxError, KeyError, TypeError, IndexError, AttributeError,
    EOFError, OverflowError, MemoryError, RuntimeError, struct.error, zlib.error,
)  # fmt: skip
"""Exceptions of Pillow for damaged files. It has no common base class for them."""
_PNG_EXPANSION: Final = 1032
"""The most bytes that one byte of deflated data can expand to."""
_TEXT_LIMITS: Final = ("MAX_TEXT_CHUNK", "MAX_TEXT_MEMORY")
"""Pillow's limits of the text in a PNG, as its errors name them."""

# Without a handler, Python prints what Pillow logs of damaged files on stderr.
logging.getLogger("PIL").addHandler(logging.NullHandler())


@contextmanager
def open_image(path: Path) -> Iterator[Image]:
    """Open an image and decode its pixels.

    Raises UsageError when there is no file, or it declares more pixels than the limit, which is
    judged before any of them is decoded, or has more text than Pillow reads. Raises CorruptError
    when it is not an image or is damaged, also when the damage only shows in the block of the
    `with` statement.
    """
    with open_header(path) as image:
        check_pixel_count(path, *image.size)
        image.load()
        yield image


@contextmanager
def open_header(path: Path) -> Iterator[Image]:
    """Open an image of any size without decoding its pixels. Raises as `open_image` does."""
    from PIL.Image import DecompressionBombError

    check_regular(path)
    if path.suffix == ".tar":
        raise archive_error(path)
    # Odd metadata only warns, and damaged pixels raise. Not `catch_warnings`, which would change
    # and restore the filters of other threads.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        with closing(_open(path)) as image:
            _check_png_size(path, image)
            yield image
    except DecompressionBombError as error:  # an image within the file, as in an icon
        raise too_large_error(path, str(error)) from error
    except _UNREADABLE as error:
        if any(limit in str(error) for limit in _TEXT_LIMITS):
            raise _too_much_text_error(path) from error
        raise corrupt_image_error(path, f"not a readable image ({error})") from error


def _open(path: Path) -> Image:
    from PIL import Image as pillow  # noqa: N813 - the module, beside its class of that name

    try:
        return pillow.open(path)
    except pillow.DecompressionBombError:
        # Pillow has one limit for the whole process, which is left as it is.
        return _open_large(path)


def _open_large(path: Path) -> Image:
    """Read a header with Pillow's plugins, which `open` has registered and which have no limit."""
    from PIL import Image as pillow  # noqa: N813 - the module, beside its class of that name

    file = path.open("rb")
    try:
        prefix = file.read(16)
        for name in pillow.ID:
            factory, accept = pillow.OPEN[name]
            if accept is not None and accept(prefix) is True:
                file.seek(0)
                with suppress(SyntaxError, IndexError, TypeError, struct.error):
                    image = factory(file, str(path))
                    # The image closes the file, as one that `open` returns does.
                    image._exclusive_fp = True
                    return image
        raise ValueError("unknown format")
    except BaseException:
        file.close()
        raise


def _check_png_size(path: Path, image: Image) -> None:
    """Raise CorruptError for a PNG whose file is too short for the pixels it declares."""
    if image.format != "PNG":
        return
    bits = {"1": 1, "P": 1, "L": 1}.get(image.mode, 8 * len(image.getbands()))
    size, needed = path.stat().st_size, image.width * image.height * bits // 8
    if needed > size * _PNG_EXPANSION:
        raise corrupt_image_error(
            path, f"{size} bytes cannot hold the {image.width}x{image.height} pixels it declares"
        )


def _too_much_text_error(path: Path) -> UsageError:
    from PIL.PngImagePlugin import MAX_TEXT_CHUNK, MAX_TEXT_MEMORY

    sizes = f"{MAX_TEXT_CHUNK >> 20} MiB in one compressed text, or {MAX_TEXT_MEMORY >> 20} in all"
    return UsageError(
        f"{path}: its texts exceed the limit of {sizes}",
        code="image.too_large",
        hint="save the image without its texts first",
    )


def archive_error(path: Path) -> UsageError:
    """Build the error for an archive in place of an image."""
    return UsageError(
        f"{path}: an archive, not an image", code="usage.file", hint=unpack_hint(path)
    )


def unpack_hint(path: Path) -> str:
    """What to do with an archive that has the images."""
    return f"unpack the archive into a folder: tar -xf {path} -C FOLDER"


def corrupt_image_error(path: Path, problem: str) -> CorruptError:
    """Build the error for an image that cannot be read, or whose record cannot."""
    return CorruptError(
        f"{path}: {problem}",
        code="image.corrupt",
        hint="the file may be damaged; recreate or copy it again",
    )
