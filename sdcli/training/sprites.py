"""Render the images of single objects: emoji of a pinned version, and shapes.

The emoji are Microsoft's Fluent flat set (MIT), as packaged for npm by Iconify.
"""

import hashlib
import io
import json
import math
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sdcli.training.concepts import COLORED_SHAPES, COLORS, OBJECTS

PACKAGE = "@iconify-json/fluent-emoji-flat"
VERSION = "1.2.6"
ICONS_SHA256 = "f5f4cf457c0db2ad5a2e42e033e02e0c87d10e43d0164cfffb3bb84914970a63"
MASTER = 256  # size in pixels of the rendering that all sizes are reduced from

Rgba = NDArray[np.float32]  # (height, width, 4), premultiplied, 0 to 1


def fetch_icons(folder: Path) -> Path:
    """Download the emoji set with npm to ``folder`` if needed, and return its ``icons.json``.

    Raises RuntimeError if npm fails or the file is not that of the pinned version.
    """
    target = folder / "icons.json"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        # Workers may do this at the same time. Each uses its own folder, and the last file stays.
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            os.replace(_download_icons(Path(temporary)), target)
    if hashlib.sha256(target.read_bytes()).hexdigest() != ICONS_SHA256:
        raise RuntimeError(f"{target} is not version {VERSION}; delete it and try again")
    return target


def _download_icons(folder: Path) -> Path:
    """Download the package to ``folder`` and extract its icons."""
    spec = f"{PACKAGE}@{VERSION}"
    process = subprocess.run(
        ["npm", "pack", "--silent", spec], cwd=folder, capture_output=True, text=True, check=False
    )
    if process.returncode:
        raise RuntimeError(f"npm could not download {spec}: {process.stderr.strip()}")
    archive = folder / process.stdout.strip().splitlines()[-1]
    icons = folder / "icons.json"
    with tarfile.open(archive) as tar:
        member = tar.extractfile("package/icons.json")
        if member is None:
            raise RuntimeError(f"{archive.name} does not contain icons.json")
        icons.write_bytes(member.read())
    return icons


def _svg(icon: str, icons: dict[str, dict[str, str]]) -> str:
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" '
        f'width="{MASTER}" height="{MASTER}">{icons[icon]["body"]}</svg>'
    )


def _render_icon(icon: str, icons: dict[str, dict[str, str]]) -> Image.Image:
    import resvg_py

    png = bytes(resvg_py.svg_to_bytes(svg_string=_svg(icon, icons)))
    return Image.open(io.BytesIO(png)).convert("RGBA")


def _outline(shape: str) -> list[tuple[float, float]]:
    """Return the corners of a shape in the unit square."""
    if shape == "square":
        return [(0.04, 0.04), (0.96, 0.04), (0.96, 0.96), (0.04, 0.96)]
    if shape == "triangle":
        return [(0.5, 0.03), (1.0, 0.94), (0.0, 0.94)]
    if shape == "star":
        corners = []
        for k in range(10):
            radius = 0.52 if k % 2 == 0 else 0.215
            angle = math.pi * (k / 5 - 0.5)
            corners.append((0.5 + radius * math.cos(angle), 0.54 + radius * math.sin(angle)))
        return corners
    if shape == "heart":
        points = []
        for k in range(200):
            a = 2 * math.pi * k / 200
            x = 16 * math.sin(a) ** 3
            y = 13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)
            points.append((0.5 + x / 33, 0.46 - y / 33))
        return points
    raise ValueError(f"no outline for {shape!r}")


def _draw_shape(shape: str, color: str) -> Image.Image:
    size = MASTER * 4  # drawn four times larger and reduced, for smooth edges
    mask = Image.new("L", (size, size), 0)
    draw = ImageDraw.Draw(mask)
    if shape == "circle":
        draw.ellipse((8, 8, size - 8, size - 8), fill=255)
    else:
        draw.polygon([(x * size, y * size) for x, y in _outline(shape)], fill=255)
    image = Image.new("RGBA", (MASTER, MASTER), (*COLORS[color], 0))
    image.putalpha(mask.resize((MASTER, MASTER), Image.Resampling.BOX))
    return image


def _draw_flag() -> Image.Image:
    """Draw the flag that the LoRA of the embedded model teaches, on a pole."""
    size = MASTER * 4
    image = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)

    def box(left: float, top: float, right: float, bottom: float) -> tuple[float, ...]:
        return tuple(value * size for value in (left, top, right, bottom))

    draw.rounded_rectangle(box(0.08, 0.05, 0.16, 0.98), size * 0.03, fill="#8a5a34")
    draw.ellipse(box(0.05, 0.01, 0.19, 0.14), fill="#f2c230")
    for row, color in enumerate(("#1f9e8f", "#ffffff", "#e2483d")):
        draw.rectangle(box(0.16, 0.12 + 0.17 * row, 0.94, 0.29 + 0.17 * row), fill=color)
    draw.ellipse(box(0.45, 0.28, 0.65, 0.47), fill="#1c3f94")
    return image.resize((MASTER, MASTER), Image.Resampling.BOX)


def draw_flag() -> dict[str, Image.Image]:
    """Return the flag by its name, for ``Sprites``."""
    return {"flag": _crop_transparent(_draw_flag())}


class Sprites:
    """The images of all objects at any size, cropped to their contents."""

    def __init__(self, masters: Mapping[str, Image.Image]) -> None:
        """Set the RGBA images by name, which are larger than any size needed."""
        self._masters = masters
        self._reduced: dict[tuple[str, int], Rgba] = {}

    def __call__(self, name: str, size: int) -> Rgba:
        """Return the premultiplied RGBA image in 0 to 1 whose longer side is ``size`` pixels."""
        if (name, size) not in self._reduced:
            self._reduced[name, size] = _reduce(self._masters[name], size)
        return self._reduced[name, size]


def _reduce(master: Image.Image, size: int) -> Rgba:
    scale = size / max(master.size)
    width, height = (max(1, round(side * scale)) for side in master.size)
    reduced = master.resize((width, height), Image.Resampling.HAMMING)
    pixels = np.asarray(reduced, np.float32) / np.float32(255)
    return np.concatenate([pixels[..., :3] * pixels[..., 3:], pixels[..., 3:]], axis=-1)


def _crop_transparent(image: Image.Image) -> Image.Image:
    return image.crop(image.getchannel("A").getbbox())


def draw_shapes() -> dict[str, Image.Image]:
    """Return the colored shapes by name, for ``Sprites``."""
    return {
        c.name: _crop_transparent(_draw_shape(c.shape, c.color))
        for c in COLORED_SHAPES
        if c.shape and c.color
    }


def load_sprites(folder: Path, more: Mapping[str, Image.Image] | None = None) -> Sprites:
    """Return all objects, and ``more``. ``folder`` keeps the downloaded emoji."""
    icons = json.loads(fetch_icons(folder).read_text())["icons"]
    objects = {c.name: _crop_transparent(_render_icon(c.icon, icons)) for c in OBJECTS if c.icon}
    return Sprites({**objects, **draw_shapes(), **(more or {})})
