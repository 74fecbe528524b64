"""Find the ControlNets and control images that a prompt file names relative to its folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from sdcli.control_fields import join_controls, parse_control_images, parse_controlnets

MODELS: Final = "controlnet"
IMAGES: Final = "control_image"


def models_relative_to(folder: Path, value: str) -> str:
    """Replace the names in a prompt file by paths where its folder has such a model."""
    names = parse_controlnets(value)
    # A name may also be an id of the hub. An absolute path stays as it is.
    paths = {n: folder / n for n in names if not n.startswith("~") and (folder / n).exists()}
    return join_controls(paths.get(name, name) for name in names) or value


def images_relative_to(folder: Path, value: str) -> str:
    """Replace the paths in a prompt file by those relative to its folder. Raises UsageError."""
    images = [
        image if image.path.startswith("~") else replace(image, path=str(folder / image.path))
        for image in parse_control_images(value)
    ]
    return join_controls(images) or value
