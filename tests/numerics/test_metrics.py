"""Test PSNR and SSIM against their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sdcli.numerics.metrics import psnr, ssim

PICTURE = np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8)


def test_an_image_is_identical_to_itself() -> None:
    assert psnr(PICTURE, PICTURE) == math.inf
    assert ssim(PICTURE, PICTURE) == pytest.approx(1)


def test_psnr_of_a_known_difference() -> None:
    black, grey = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 10, np.uint8)
    assert psnr(black, grey) == pytest.approx(20 * math.log10(255 / 10))


def test_ssim_of_flat_pictures_is_the_luminance_term() -> None:
    a, b = np.full((16, 16, 3), 100, np.uint8), np.full((16, 16, 3), 150, np.uint8)
    c1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    assert ssim(a, b) == pytest.approx(expected)


def test_ssim_of_one_window_is_its_formula() -> None:
    """At 11 x 11 there is one window: written out with plain weighted sums."""
    luma = [0.299, 0.587, 0.114]
    a, b = PICTURE[:11, :11], PICTURE[11:22, :11]
    x, y = a @ luma, b @ luma
    side = np.exp(-(np.arange(-5, 6) ** 2) / 4.5)
    w = np.outer(side, side) / np.outer(side, side).sum()
    mx, my = (w * x).sum(), (w * y).sum()
    vx, vy, both = (w * (x - mx) ** 2).sum(), (w * (y - my) ** 2).sum(), 0.0
    both = (w * (x - mx) * (y - my)).sum()
    c1, c2 = 2.55**2, 7.65**2
    expected = (2 * mx * my + c1) * (2 * both + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert ssim(a, b) == pytest.approx(expected)


def test_more_noise_is_less_similar() -> None:
    noise = np.random.default_rng(1).normal(0, 1, PICTURE.shape)
    likes = []
    for strength in (5, 20, 60):
        noisy = np.clip(PICTURE + strength * noise, 0, 255).astype(np.uint8)
        likes.append((psnr(noisy, PICTURE), ssim(noisy, PICTURE)))
    assert likes == sorted(likes, reverse=True)


def test_images_of_different_or_too_small_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        psnr(PICTURE, PICTURE[1:])
    with pytest.raises(ValueError, match="11 x 11"):
        ssim(PICTURE[:10], PICTURE[:10])
