"""Show a folder of images as one HTML page."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sdcli.errors import CorruptError, UsageError
from sdcli.storage.gallery.page import GalleryImage, render_page
from sdcli.storage.images.codec import read_image_info
from sdcli.storage.images.folder_images import find_images
from sdcli.storage.images.pixels import read_pixels
from sdcli.storage.images.thumbnail import encode_thumbnail
from sdcli.storage.metadata.record import pixels_sha256
from sdcli.storage.metadata.scores import scores_of, stored_scores
from sdcli.storage.text import printable
from sdcli.workflows.image_settings import read_settings

SCHEMA: Final = "sdcli/gallery/1"


@dataclass(frozen=True, kw_only=True)
class GalleryOptions:
    """The form of a gallery.

    `folder` is that of the page, to which its links are relative. Thumbnails have at most
    `thumbnail` pixels a side; with `links`, the page shows the files themselves.
    """

    folder: Path
    thumbnail: int = 256
    links: bool = False


def build_gallery(
    source: Path, options: GalleryOptions, warn: Callable[[str], None]
) -> tuple[str, int]:
    """Return the page of all images in a folder, and their number.

    `warn` is called for each file that is damaged or too large, which is left out. Raises
    UsageError when no image is left.
    """
    images = []
    for path in find_images([str(source)]):
        try:
            images.append(_read_image(path, source, options))
        except (CorruptError, UsageError) as error:
            warn(f"left out: {error.message}")
    if not images:
        raise UsageError(f"{source}: no image in it can be read", code="usage.no_images")
    title = source.resolve().name or "images"
    return render_page(title, images, links=options.links), len(images)


def _read_image(path: Path, source: Path, options: GalleryOptions) -> GalleryImage:
    info = read_image_info(path, with_hash=False)
    href = _link(path, options.folder)
    shown, scores, size = href, {}, (info["width"], info["height"])
    stored = stored_scores(path)
    if stored or not options.links:
        pixels, _ = read_pixels(path)
        scores = scores_of(stored, pixels_sha256(pixels)) if stored else {}
        if not options.links:
            data = base64.b64encode(encode_thumbnail(pixels, options.thumbnail)).decode()
            shown, size = f"data:image/webp;base64,{data}", (pixels.shape[1], pixels.shape[0])
    command, settings = read_settings(path, info)
    return GalleryImage(
        name=_display_name(path, source),
        href=href,
        source=shown,
        width=size[0],
        height=size[1],
        command=command,
        settings=settings,
        scores=scores,
    )


def _link(path: Path, folder: Path) -> str:
    """The URL of a file relative to the folder of the page."""
    relative = os.path.relpath(path.resolve(), folder.resolve())
    # Bytes, for names that are not UTF-8; the colon is quoted, or it could end a scheme.
    return quote(os.fsencode(relative))


def _display_name(path: Path, source: Path) -> str:
    return printable(str(path.relative_to(source)))
