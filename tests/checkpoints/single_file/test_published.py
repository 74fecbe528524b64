"""Published files of Stable Diffusion 2 are known by their hashes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sdcli.checkpoints.file_hashes import sha256
from sdcli.checkpoints.single_file import published
from sdcli.checkpoints.single_file.detection import Detection
from sdcli.checkpoints.single_file.families import FAMILIES
from sdcli.checkpoints.single_file.published import identify
from sdcli.checkpoints.single_file.training import Prediction

GUESS = Prediction(type="v_prediction", certainty="guessed", reason="")
SD2 = Detection(
    kind="model", family=FAMILIES["sd2"], layout="original", parts={}, prediction=GUESS,
    distillation=None, reasons=(), other_names=(),
)  # fmt: skip


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is taken for a published base model."""
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"abc")
    monkeypatch.setattr(published, "_MIN_BYTES", 3)
    monkeypatch.setitem(published._PUBLISHED, sha256(path), published._EPSILON)
    return path


def test_a_guess_gives_way_to_the_hash(file: Path) -> None:
    found = identify(SD2, file, reads=True).prediction
    assert found
    assert (found.type, found.certainty) == ("epsilon", "stated")
    assert "by its hash" in found.reason


def test_other_files_stay_a_guess(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_bytes(b"abd!")
    assert identify(SD2, file, reads=True) is SD2
    file.write_bytes(b"abc")
    # Its hash is not known yet, and a header alone does not tell it.
    assert identify(SD2, file, reads=False) is SD2
    monkeypatch.setattr(published, "_MIN_BYTES", 4)
    assert identify(SD2, file, reads=True) is SD2


@pytest.mark.parametrize(
    "other",
    [
        replace(SD2, family=FAMILIES["sd1"]),
        replace(SD2, family=None),
        replace(SD2, prediction=None),
        replace(SD2, prediction=replace(GUESS, certainty="stated")),
    ],
)
def test_what_a_file_says_itself_stays(file: Path, other: Detection) -> None:
    assert identify(other, file, reads=True) is other
