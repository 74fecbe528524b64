"""Contact sheets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from sdcli.training.contact_sheet import HEIGHT, WIDTH, contact_sheet


def test_the_sheet_has_a_cell_for_each_image(tmp_path: Path) -> None:
    image = np.full((128, 128, 3), 200, np.uint8)
    target = tmp_path / "folder" / "sheet.png"
    contact_sheet([("a cat", image)] * 7, target, columns=3)
    with Image.open(target) as sheet:
        assert sheet.size == (3 * WIDTH, 3 * HEIGHT)
        pixels = np.asarray(sheet.convert("RGB"))
    assert (pixels[10, 10] == 200).all()
    assert (pixels[2 * HEIGHT + 10, WIDTH + 10] == 255).all()
