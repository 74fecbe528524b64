"""Test that the linear map from latents to colours is fitted and applied as one."""

from __future__ import annotations

import numpy as np
import pytest

from sdcli.numerics.latent_rgb import fit_latent_rgb_factors, latents_to_rgb

FACTORS = [[0.1, 0.2, 0.3], [-0.2, 0.0, 0.1], [0.05, -0.1, 0.2], [0.0, 0.3, -0.3], [0.1, -0.1, 0.0]]


def test_factors_of_an_exact_linear_map_are_found_again() -> None:
    latents = np.random.default_rng(0).standard_normal((2, 4, 5, 6)).astype(np.float32)
    table = np.array(FACTORS)
    pixels = np.einsum("ichw,cr->irhw", latents, table[:-1]) + table[-1][None, :, None, None]
    assert np.allclose(fit_latent_rgb_factors(latents, pixels.astype(np.float32)), FACTORS)


@pytest.mark.parametrize("scale", [1, 8])
def test_each_latent_becomes_a_square_of_its_colour(scale: int) -> None:
    latents = np.random.default_rng(0).standard_normal((4, 3, 5)).astype(np.float32)
    image = latents_to_rgb(latents, FACTORS, scale)
    assert (image.shape, image.dtype) == ((3 * scale, 5 * scale, 3), np.uint8)
    small = latents_to_rgb(latents, FACTORS, 1)
    assert np.array_equal(image[::scale, ::scale], small)
    assert np.array_equal(image, small.repeat(scale, 0).repeat(scale, 1))


def test_colours_out_of_range_are_clipped() -> None:
    latents = np.stack([np.full((1, 1), value) for value in (100.0, -100.0, 0.0, 0.0)])
    factors = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert latents_to_rgb(latents, factors, 1).tolist() == [[[255, 0, 128]]]
