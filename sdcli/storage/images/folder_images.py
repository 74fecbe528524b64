"""Find the images of a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from sdcli.errors import UsageError
from sdcli.inputs.natural_order import natural_key
from sdcli.inputs.paths import expand_user
from sdcli.storage.images.codec import FORMATS


def find_images(names: Sequence[str]) -> list[Path]:
    """Return the image files of that names, and of the folders among them with all subfolders.

    Those of a folder are in natural order (9 before 10), without hidden ones. Raises UsageError
    for a name that is neither, and when there are none at all.
    """
    found: dict[Path, None] = {}
    for name in names:
        path = expand_user(name)
        if path.is_dir():
            found |= dict.fromkeys(sorted(_walk(path), key=lambda file: natural_key(str(file))))
        elif path.suffix.lower() in FORMATS:
            found[path] = None
        else:
            problem = "not an image" if path.exists() else "no such file or folder"
            hint = f"give a folder, or files that end in {', '.join(FORMATS)}"
            raise UsageError(f"{path}: {problem}", code="usage.file", hint=hint)
    if not found:
        raise UsageError(
            f"{', '.join(names)}: no images ({', '.join(FORMATS)}) in it", code="usage.no_images"
        )
    return list(found)


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if os.path.splitext(name)[1].lower() in FORMATS and not name.startswith("."):
                yield Path(parent, name)
