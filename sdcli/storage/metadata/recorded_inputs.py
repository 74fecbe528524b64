"""Name input images in records, and find them again by their hash or by their name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sdcli.checkpoints import file_hashes
from sdcli.errors import UsageError
from sdcli.field_validation import refuse_separator
from sdcli.fields.image import INPUT_FIELDS
from sdcli.inputs.paths import expand_user
from sdcli.job import Job
from sdcli.listed_files import join_files
from sdcli.request import GenerationRequest

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")
# Each of them is hashed, which takes long in the folder of a large run.
_MAX_NEIGHBOURS: Final = 1000


def image_names(images: Sequence[Any], *, full_paths: bool) -> str | None:
    """Write the images of a field by name, or with `full_paths` by their absolute paths."""
    return join_files(
        replace(image, path=_recorded_path(image.path, full_paths=full_paths)) for image in images
    )


def _recorded_path(path: str, *, full_paths: bool) -> str:
    return str(expand_user(path).absolute()) if full_paths else Path(path).name


def input_names(job: Job, *, full_paths: bool) -> dict[str, str]:
    """Return the names of the job's input images, or with `full_paths` their absolute paths."""
    paths = {name: getattr(job, name) for name in INPUT_FIELDS}
    return {
        name: _recorded_path(path, full_paths=full_paths)
        for name, path in paths.items()
        if path is not None
    }


def inputs_of(job: Job) -> dict[str, str]:
    """Return the SHA-256 of each input image of a job, by the name of its field."""
    return {
        name: getattr(job, f"{name}_sha256")
        for name in INPUT_FIELDS
        if getattr(job, name) is not None
    }


def locate_inputs(
    request: GenerationRequest,
    record: Mapping[str, Any],
    folders: Sequence[Path],
    warn: Callable[[str], None],
    own: Path | None = None,
) -> GenerationRequest:
    """Return the request with the paths of its recorded input images on this machine.

    `own` is the image that has the record: it may have the name of its input.

    What has the recorded hash comes first, in the `folders`, in their order; then what has the
    name, with a warning. An image that is not the recorded one was chosen by the user, and stays.
    Raises UsageError, which says what to look for.
    """
    recorded, hashes = record.get("request"), record.get("inputs")
    located: dict[str, Any] = {}
    for field in INPUT_FIELDS:
        name = getattr(request, field)
        if name is None or not isinstance(recorded, Mapping) or name != recorded.get(field):
            continue
        sha256 = str(hashes.get(field)) if isinstance(hashes, Mapping) else ""
        sha256 = sha256 if _SHA256.fullmatch(sha256) else ""
        located[field] = locate_image(field, name, sha256, folders, warn, own)
    return replace(request, **located)


def locate_images(
    field: str,
    images: Sequence[Any],
    hashes: Sequence[str],
    folders: Sequence[Path],
    warn: Callable[[str], None],
    own: Path | None,
) -> str | None:
    """Write the images of a field with their paths on this machine, as `locate_image` does."""
    paths = (
        locate_image(field, image.path, digest, folders, warn, own)
        for image, digest in zip(images, hashes, strict=True)
    )
    return join_files(
        replace(image, path=refuse_separator(field, path))
        for image, path in zip(images, paths, strict=True)
    )


def locate_image(
    field: str,
    name: str,
    sha256: str,
    folders: Sequence[Path],
    warn: Callable[[str], None],
    own: Path | None,
) -> str:
    """Return the path of the recorded image of a field; its hash is "" if that is not known.

    Raises UsageError for one that is not here.
    """
    path = _locate(name, sha256, folders, own)
    if path is None:
        raise _not_found_error(field, name, sha256)
    if not sha256:
        warn(f"{path} may have changed: the record has no SHA-256 of its {field}")
    elif _hash(path) != sha256:
        warn(f"{path} has changed: the recorded {field} has SHA-256 {sha256}")
    return str(path)


def _locate(name: str, sha256: str, folders: Sequence[Path], own: Path | None) -> Path | None:
    named = [expand_user(name), *(folder / Path(name).name for folder in folders)]
    named = [path for path in named if _is_file(path) and not (own and path.samefile(own))]
    if sha256:
        for path in (*named, *_images_in(folders)):
            if _hash(path) == sha256:
                return path
    return named[0] if named else None


def _images_in(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in dict.fromkeys(folders):
        with suppress(OSError):
            images = (path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
            yield from filter(_is_file, islice(images, _MAX_NEIGHBOURS))


def _is_file(path: Path) -> bool:
    with suppress(OSError, ValueError):
        return path.is_file()
    return False


def _hash(path: Path) -> str | None:
    with suppress(OSError):
        return file_hashes.sha256(path)
    return None


def _not_found_error(field: str, name: str, sha256: str) -> UsageError:
    known = f" (SHA-256 {sha256})" if sha256 else ""
    return UsageError(
        f"{field}: the record's input {name!r}{known} is not here",
        code=f"usage.{field}",
        hint=f"put it next to the image, or name its folder with --inputs DIR, or the file with "
        f"--set {field}=FILE",
    )
