"""Latents files of encoded pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sdcli.output.encoded import prepare, write_encoded
from sdcli.output.latents_file import read_latents


def test_what_is_written_is_read_however_it_lies_in_memory(tmp_path: Path) -> None:
    lying = np.arange(4 * 3 * 5, dtype=np.float32).reshape(3, 5, 4).transpose(2, 0, 1)
    assert not lying.flags.c_contiguous
    home = prepare(str(tmp_path / "a.safetensors"), several=False, force=False)
    path = write_encoded(lying, {"image": "a.png", "vae": "tiny"}, home, several=False, force=False)
    latents = read_latents(Path(path))
    assert np.array_equal(latents.array[0], lying)
    assert latents.spec == {"vae": "tiny"}
