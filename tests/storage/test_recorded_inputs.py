"""Input images of records are found by their hash or by their name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sdcli.checkpoints.file_hashes import sha256
from sdcli.errors import UsageError
from sdcli.request import GenerationRequest
from sdcli.storage.metadata.recorded_inputs import locate_inputs


@pytest.mark.parametrize("inputs", [None, {}, {"image": None}, {"image": "x"}, {"mask": "0" * 64}])
def test_a_record_without_a_hash_says_so(tmp_path: Path, inputs: Any) -> None:
    record = {"request": {"image": "in.png"}, "inputs": inputs}
    request, warnings = GenerationRequest(prompt="a", image="in.png"), list[str]()
    with pytest.raises(UsageError, match=r"the record's input 'in\.png' is not here"):
        locate_inputs(request, record, [tmp_path], warnings.append)
    (tmp_path / "in.png").write_bytes(b"x")
    located = locate_inputs(request, record, [tmp_path], warnings.append)
    assert located.image == str(tmp_path / "in.png")
    [warning] = warnings
    assert "the record has no SHA-256 of its image" in warning


def test_the_hash_wins_over_the_name(tmp_path: Path) -> None:
    for name in ("in.png", "other.png"):
        (tmp_path / name).write_text(name)
    record = {"request": {"image": "in.png"}, "inputs": {"image": sha256(tmp_path / "other.png")}}
    warnings: list[str] = []
    request = GenerationRequest(prompt="a", image="in.png")
    located = locate_inputs(request, record, [tmp_path], warnings.append)
    assert (located.image, warnings) == (str(tmp_path / "other.png"), [])
