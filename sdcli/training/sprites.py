"""Pictures of single things: emoji fetched at a pinned version and rendered, shapes drawn here.

The emoji are Microsoft's Fluent flat set (MIT) as packed for npm by Iconify.
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
MASTER = 256  # pixels of the master rendering that all sizes are reduced from

Rgba = NDArray[np.float32]  # (height, width, 4), premultiplied, 0…1


def fetch_icons(folder: Path) -> Path:
    """Download the emoji set with npm into ``folder`` once and return its ``icons.json``.

    Raises ``RuntimeError`` where npm fails or the file is not the pinned one.
    """
    target = folder / "icons.json"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        # Workers may do this at once: each in a place of its own, and the last one's stays.
        with tempfile.TemporaryDirectory(dir=folder) as own:
            os.replace(_unpacked(Path(own)), target)
    if hashlib.sha256(target.read_bytes()).hexdigest() != ICONS_SHA256:
        raise RuntimeError(f"{target} is not the pinned version {VERSION}: delete it and try again")
    return target


def _unpacked(folder: Path) -> Path:
    """Fetch the package into ``folder``; the icons in it."""
    spec = f"{PACKAGE}@{VERSION}"
    packed = subprocess.run(
        ["npm", "pack", "--silent", spec], cwd=folder, capture_output=True, text=True, check=False
    )
    if packed.returncode:
        raise RuntimeError(f"npm could not fetch {spec}: {packed.stderr.strip()}")
    archive = folder / packed.stdout.strip().splitlines()[-1]
    icons = folder / "icons.json"
    with tarfile.open(archive) as tar:
        member = tar.extractfile("package/icons.json")
        if member is None:
            raise RuntimeError(f"{archive.name} holds no icons.json")
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
    """Corner points on the unit square of a shape with corners or curves."""
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
    size = MASTER * 4  # drawn four times larger, for smooth edges
    mask = Image.new("L", (size, size), 0)
    draw = ImageDraw.Draw(mask)
    if shape == "circle":
        draw.ellipse((8, 8, size - 8, size - 8), fill=255)
    else:
        draw.polygon([(x * size, y * size) for x, y in _outline(shape)], fill=255)
    picture = Image.new("RGBA", (MASTER, MASTER), (*COLORS[color], 0))
    picture.putalpha(mask.resize((MASTER, MASTER), Image.Resampling.BOX))
    return picture


class Sprites:
    """All pictures of the world, trimmed to their boxes, at any size.

    ``sprites(name, size)`` is the premultiplied RGBA picture whose longer side is ``size`` pixels.
    """

    def __init__(self, masters: Mapping[str, Image.Image]) -> None:
        """``masters`` are the RGBA pictures by name, larger than any size asked for."""
        self._masters = masters
        self._reduced: dict[tuple[str, int], Rgba] = {}

    def __call__(self, name: str, size: int) -> Rgba:
        """Premultiplied float RGBA in 0…1, its longer side ``size`` pixels."""
        if (name, size) not in self._reduced:
            self._reduced[name, size] = _reduce(self._masters[name], size)
        return self._reduced[name, size]


def _reduce(master: Image.Image, size: int) -> Rgba:
    scale = size / max(master.size)
    width, height = (max(1, round(side * scale)) for side in master.size)
    reduced = master.resize((width, height), Image.Resampling.HAMMING)
    pixels = np.asarray(reduced, np.float32) / np.float32(255)
    return np.concatenate([pixels[..., :3] * pixels[..., 3:], pixels[..., 3:]], axis=-1)


def _trimmed(picture: Image.Image) -> Image.Image:
    return picture.crop(picture.getchannel("A").getbbox())


def draw_shapes() -> dict[str, Image.Image]:
    """The coloured shapes by name, as ``Sprites`` takes them."""
    return {
        c.name: _trimmed(_draw_shape(c.shape, c.color))
        for c in COLORED_SHAPES
        if c.shape and c.color
    }


def load_sprites(folder: Path) -> Sprites:
    """Everything in the world; ``folder`` keeps the downloaded emoji."""
    icons = json.loads(fetch_icons(folder).read_text())["icons"]
    objects = {c.name: _trimmed(_render_icon(c.icon, icons)) for c in OBJECTS if c.icon}
    return Sprites({**objects, **draw_shapes()})
