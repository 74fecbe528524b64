"""Read the image files that a test has made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def pixels_of(path: Path | str) -> np.ndarray:
    """Pixels (height, width, 3) uint8."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def record_of(path: Path | str) -> dict[str, Any]:
    """The record in a PNG."""
    with Image.open(path) as image:
        record: dict[str, Any] = json.loads(image.text["sdcli"])
    return record
