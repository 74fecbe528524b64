"""Selecting the VAE of a pipeline."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.checkpoints.vae_selection import read_selected_vae, select_vae
from sdcli.errors import CorruptError, ModelError
from sdcli.pipeline_spec import PipelineSpec

OTHER_FACTOR = 0.13025


@pytest.fixture
def other_vae(tmp_path: Path) -> PipelineSpec:
    """The embedded VAE with another scaling factor."""
    folder = Path(shutil.copytree(EMBEDDED_FOLDER / "vae", tmp_path / "other"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"scaling_factor": OTHER_FACTOR}))
    return PipelineSpec(vae=str(folder), offline=True)


@pytest.mark.parametrize("vae", [None, "own", "tiny"])
def test_the_vaes_of_the_model_fit(vae):
    info, sentences = select_vae(PipelineSpec(vae=vae), EMBEDDED_FOLDER)
    assert info == read_selected_vae(PipelineSpec(vae=vae), EMBEDDED_FOLDER)
    assert info.path.parent == EMBEDDED_FOLDER
    assert sentences == ()


def test_a_vae_that_does_not_fit_must_be_forced(other_vae):
    with pytest.raises(ModelError, match="scaling factor") as caught:
        select_vae(other_vae, EMBEDDED_FOLDER)
    assert "--force-vae" in (caught.value.hint or "")
    info, sentences = select_vae(replace(other_vae, force_vae=True), EMBEDDED_FOLDER)
    assert info.scaling_factor == OTHER_FACTOR
    assert "--force-vae" in sentences[-1]


def test_a_vae_that_does_not_fit_can_still_be_read(other_vae):
    assert read_selected_vae(other_vae, EMBEDDED_FOLDER).scaling_factor == OTHER_FACTOR


def test_damaged_weights_are_found_by_their_header(other_vae):
    [weights] = Path(other_vae.vae or "").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CorruptError, match=r"^vae: "):
        read_selected_vae(other_vae, EMBEDDED_FOLDER)
