"""Latents files of encoded pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sdcli.storage.latents.encoded_image import prepare_latents_output, write_encoded_latents
from sdcli.storage.latents.reader import read_any_latents_file


def test_what_is_written_is_read_however_it_lies_in_memory(tmp_path: Path) -> None:
    lying = np.arange(4 * 3 * 5, dtype=np.float32).reshape(3, 5, 4).transpose(2, 0, 1)
    assert not lying.flags.c_contiguous
    home = prepare_latents_output(str(tmp_path / "a.safetensors"), several=False, force=False)
    path = write_encoded_latents(
        lying, {"image": "a.png", "vae": "tiny"}, home, several=False, force=False
    )
    latents = read_any_latents_file(Path(path))
    assert np.array_equal(latents.images(latents.select_tensor())[0], lying)
    assert latents.spec_fields == {"vae": "tiny"}
