"""Read the images of a folder as squares, with their captions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdcli.errors import UsageError, name_some
from sdcli.inputs.similar_paths import similar_path_hint
from sdcli.lora_training import SIZE_STEP, TrainingImage
from sdcli.storage.images.fitting import fit, is_cut
from sdcli.storage.images.folder_images import find_images
from sdcli.storage.images.pixels import read_pixels
from sdcli.workflows.train_lora.captions import (
    add_trigger,
    find_lone_captions,
    read_captions,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The images of a training, and the SHA-256 of all their pixels and captions."""

    images: tuple[TrainingImage, ...]
    sha256: str


def find_captioned(folder: Path, caption: str | None) -> list[tuple[Path, str]]:
    """Return the images of a folder and those below it, each with its caption.

    Raises UsageError for a folder without images, and for images without a caption.
    """
    if not folder.is_dir():
        problem = "is a file, but a folder is needed" if folder.exists() else "no such folder"
        raise UsageError(
            f"{folder}: {problem}", code="usage.folder", hint=similar_path_hint(folder)
        )
    images = find_images([str(folder)])
    return list(zip(images, read_captions(folder, images, caption), strict=True))


def read_dataset(
    folder: Path,
    captioned: Sequence[tuple[Path, str]],
    *,
    trigger: str | None,
    resolution: int,
    warn: Callable[[str], None],
) -> Dataset:
    """Read the images as squares: scaled to cover them, and cropped at the middle.

    `warn` gets the images that are enlarged, and captions without an image. Raises UsageError and
    CorruptError for a file that is not a readable image.
    """
    images = []
    for path, caption in captioned:
        pixels, notes = read_pixels(path)
        for note in notes:
            warn(note)
        name = path.relative_to(folder).as_posix()
        images.append(_to_example(name, add_trigger(caption, trigger), pixels, resolution))
    _warn_about(folder, [path for path, _ in captioned], images, resolution, warn)
    return Dataset(images=tuple(images), sha256=_digest(images))


def _to_example(
    name: str, caption: str, pixels: NDArray[np.uint8], resolution: int
) -> TrainingImage:
    height, width = pixels.shape[:2]
    square = fit(pixels, resolution, resolution, "crop", SIZE_STEP)
    return TrainingImage(
        name=name,
        caption=caption,
        pixels=square,
        original_size=(width, height),
        crop=_corner((width, height), resolution),
    )


def _corner(size: tuple[int, int], resolution: int) -> tuple[int, int]:
    """Return the (left, top) corner of the square in the scaled image, as `fit` cuts it."""
    if is_cut(size, (resolution, resolution), SIZE_STEP):
        return 0, 0
    factor = resolution / min(size)
    left, top = ((max(1, round(side * factor)) - resolution) // 2 for side in size)
    return max(left, 0), max(top, 0)


def _warn_about(
    folder: Path,
    paths: Sequence[Path],
    images: Sequence[TrainingImage],
    resolution: int,
    warn: Callable[[str], None],
) -> None:
    small = [image.name for image in images if min(image.original_size) < resolution]
    if small:
        warn(
            f"{len(small)} of {len(images)} images are smaller than {resolution}x{resolution} and "
            f"are enlarged: {name_some(small)}"
        )
    cut = [i.name for i in images if i.original_size[0] != i.original_size[1]]
    if cut:
        warn(
            f"{len(cut)} of {len(images)} images are not square; only the middle is used: "
            f"{name_some(cut)}"
        )
    if lone := find_lone_captions(folder, paths):
        warn(f"{len(lone)} captions have no image: {name_some(lone)}")


def _digest(images: Sequence[TrainingImage]) -> str:
    digest = hashlib.sha256()
    # Not the names: renamed images are the same training.
    for image in images:
        digest.update(f"{image.caption}\n{image.original_size}\n".encode())
        digest.update(image.pixels.tobytes())
    return digest.hexdigest()
