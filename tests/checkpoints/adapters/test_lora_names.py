"""Names of LoRAs are looked up in a folder, which is listed once."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdcli.checkpoints.adapters.lora_names import find_lora
from sdcli.errors import ModelError


def test_a_file_that_is_new_or_gone_is_noticed(tmp_path: Path) -> None:
    def find(name: str) -> Path:
        return find_lora(name, str(tmp_path), offline=True)

    first, second = tmp_path / "a" / "style.safetensors", tmp_path / "b" / "style.safetensors"
    for path in (first, second):
        path.parent.mkdir()
        path.write_bytes(b"x")
    assert find("style") == first
    first.unlink()
    assert find("style") == second
    with pytest.raises(ModelError, match="no LoRA at 'other'"):
        find("other")
    other = second.with_name("other.safetensors")
    other.write_bytes(b"x")
    assert find("other") == other
