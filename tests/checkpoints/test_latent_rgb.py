"""Linear maps from latents to RGB."""

from __future__ import annotations

import pytest

from sdcli.checkpoints.latent_rgb import (
    FACTORS_KEY,
    SD_FACTORS,
    SDXL_FACTORS,
    read_latent_rgb_factors,
)
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.errors import CorruptError, UsageError
from tests.checkpoints.model_files import write_model


@pytest.mark.parametrize(
    ("vae", "expected"),
    [
        ({}, SD_FACTORS),
        ({"scaling_factor": 0.18215}, SD_FACTORS),
        ({"scaling_factor": 0.13025}, SDXL_FACTORS),
    ],
)
def test_the_scaling_factor_selects_the_family(tmp_path, vae, expected):
    assert read_latent_rgb_factors(write_model(tmp_path, vae=vae)) == expected


@pytest.mark.parametrize("vae", [{"scaling_factor": 1.0}, {"latent_channels": 16}])
def test_unknown_latents_have_no_factors(tmp_path, vae):
    with pytest.raises(UsageError) as caught:
        read_latent_rgb_factors(write_model(tmp_path, vae=vae))
    assert caught.value.code == "latents.no_factors"


def test_the_models_own_factors_win(tmp_path):
    rows = [[1, 2, 3]] * 5
    folder = write_model(tmp_path, defaults={FACTORS_KEY: rows})
    assert read_latent_rgb_factors(folder) == ((1.0, 2.0, 3.0),) * 5
    assert len(read_latent_rgb_factors(EMBEDDED_FOLDER)) == 5


@pytest.mark.parametrize("rows", ["red", [[1, 2, 3]] * 4, [[1, 2]] * 5, [[1, 2, "3"]] * 5])
def test_factors_of_the_wrong_shape_are_corrupt(tmp_path, rows):
    with pytest.raises(CorruptError, match=FACTORS_KEY):
        read_latent_rgb_factors(write_model(tmp_path, defaults={FACTORS_KEY: rows}))
