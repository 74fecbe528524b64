"""Find the images of a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from sdcli.errors import UsageError
from sdcli.inputs.natural_order import natural_key
from sdcli.inputs.paths import expand_user
from sdcli.inputs.similar_paths import similar_path_hint
from sdcli.storage.images.codec import FORMATS
from sdcli.storage.images.opening import archive_error, unpack_hint


def find_images(names: Sequence[str], *, recursive: bool = True) -> list[Path]:
    """Return the image files of that names, and of the folders among them.

    Those of a folder are in natural order (9 before 10), without hidden ones; `recursive` includes
    its subfolders. Raises UsageError for a name that is neither, for a folder that cannot be read,
    and when there are none at all.
    """
    found: dict[Path, None] = {}
    for name in names:
        path = expand_user(name)
        if path.is_dir():
            images = sorted(_walk(path, recursive), key=lambda file: natural_key(str(file)))
            found |= dict.fromkeys(images)
        elif path.suffix.lower() in FORMATS:
            found[path] = None
        else:
            raise _not_an_image_error(path)
    if not found:
        raise UsageError(
            f"{', '.join(names)}: no images ({', '.join(FORMATS)}) in it",
            code="usage.no_images",
            hint=next((unpack_hint(path) for name in names for path in _archives(name)), None),
        )
    return list(found)


def _not_an_image_error(path: Path) -> UsageError:
    if path.suffix == ".tar" and path.is_file():
        return archive_error(path)
    problem = "not an image" if path.exists() else "no such file or folder"
    near = None if path.exists() else similar_path_hint(path)
    hint = near or f"give a folder, or files that end in {', '.join(FORMATS)}"
    return UsageError(f"{path}: {problem}", code="usage.file", hint=hint)


def _archives(name: str) -> list[Path]:
    return sorted(expand_user(name).glob("*.tar"))


def _walk(folder: Path, recursive: bool) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        if error.filename == str(folder):
            raise UsageError(f"{folder}: cannot be read: {error.strerror}", code="usage.file")

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        for name in files:
            if os.path.splitext(name)[1].lower() in FORMATS and not name.startswith("."):
                yield Path(parent, name)
