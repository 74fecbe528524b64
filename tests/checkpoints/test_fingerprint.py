"""Fingerprints of models."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sdcli.checkpoints.fingerprint import fingerprint
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.errors import ModelError
from sdcli.pipeline_spec import PipelineSpec

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the embedded model."""
    return Path(shutil.copytree(EMBEDDED_FOLDER, tmp_path / "model"))


def compute(folder: Path, **changes) -> str:
    """The fingerprint of the files as they are now."""
    return fingerprint(PipelineSpec(model=str(folder), **changes))


def test_the_path_does_not_matter(model: Path):
    assert compute(model) == fingerprint(PipelineSpec())
    assert compute(model.rename(model.with_name("other"))) == fingerprint(PipelineSpec())


def test_the_embedded_model_has_the_fingerprint_of_version_0_1_0():
    """Batches that 0.1.0 began on it resume only if this does not change."""
    known = "787c2c43d62d61a8e689232222abc2f0e3cde3bb3c6b7205a0a5372530c63b51"
    assert fingerprint(PipelineSpec()) == known


@pytest.mark.parametrize(
    "name", [UNET, "scheduler/scheduler_config.json", "tokenizer/merges.txt", "vae/config.json"]
)
def test_a_changed_file_changes_the_fingerprint(model: Path, name: str):
    before = compute(model)
    data = bytearray((model / name).read_bytes())
    data[-1] ^= 1
    (model / name).write_bytes(data)
    assert compute(model) != before


@pytest.mark.parametrize("name", ["README.md", "vae_tiny/config.json", "sdcli.json"])
def test_a_file_that_is_not_loaded_does_not_matter(model: Path, name: str):
    before = compute(model)
    (model / name).write_text("changed")
    assert compute(model) == before


def test_the_vae_is_part_of_the_fingerprint(model: Path):
    assert len({compute(model), compute(model, vae="tiny")}) == 2
    assert compute(model, vae="own") == compute(model)


def test_missing_weights_are_an_error(model: Path):
    (model / UNET).unlink()
    with pytest.raises(ModelError):
        compute(model)
