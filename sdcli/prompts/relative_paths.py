"""Find the models and images that a prompt file names relative to its folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from sdcli.fields.control import parse_control_images
from sdcli.fields.ip_adapter import parse_ip_images
from sdcli.listed_files import join_files, split_files


def models_relative_to(folder: Path, value: str) -> str:
    """Replace the names in a prompt file by paths where its folder has such a model."""
    names = split_files(value)
    # A name may also be an id of the hub. An absolute path stays as it is.
    paths = {n: folder / n for n in names if not n.startswith("~") and (folder / n).exists()}
    return join_files(paths.get(name, name) for name in names) or value


def _images_relative_to(parse: Callable[[str], Iterable[Any]], folder: Path, value: str) -> str:
    """Replace the paths in a prompt file by those relative to its folder. Raises UsageError."""
    images = parse(value)
    return join_files(replace(i, path=_path_in(folder, i.path)) for i in images) or value


def _path_in(folder: Path, path: str) -> str:
    return path if path.startswith("~") else str(folder / path)


RELATIVE: Final[Mapping[str, Callable[[Path, str], str]]] = {
    "controlnet": models_relative_to,
    "control_image": partial(_images_relative_to, parse_control_images),
    "ip_adapter": models_relative_to,
    "ip_image": partial(_images_relative_to, parse_ip_images),
    "ip_encoder": models_relative_to,
}
"""Fields whose text names models or images, and what finds these in a folder."""
