"""Test that the latents of encoded images are read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sdcli.storage.latents.encoded_image import prepare_latents_output, write_encoded_latents
from sdcli.storage.latents.reader import read_any_latents_file


def test_arrays_of_any_memory_layout_are_read_back(tmp_path: Path) -> None:
    transposed = np.arange(4 * 3 * 5, dtype=np.float32).reshape(3, 5, 4).transpose(2, 0, 1)
    assert not transposed.flags.c_contiguous
    home = prepare_latents_output(str(tmp_path / "a.safetensors"), several=False, force=False)
    path = write_encoded_latents(
        transposed, {"image": "a.png", "vae": "tiny"}, home, several=False, force=False
    )
    latents = read_any_latents_file(Path(path))
    assert np.array_equal(latents.images(latents.select_tensor())[0], transposed)
    assert latents.spec_fields == {"vae": "tiny"}
