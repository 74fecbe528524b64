"""Heat maps of words, and the colours that they are drawn in."""

from __future__ import annotations

import numpy as np
import pytest

from sdcli.numerics.color_ramp import color_ramp
from sdcli.numerics.heat_maps import relative_maps, stretch, word_maps


def test_the_attention_of_a_word_is_that_of_its_tokens():
    maps = np.arange(12.0).reshape(3, 2, 2)
    assert np.array_equal(word_maps(maps, [(0,), (1, 2)]), [maps[0], maps[1] + maps[2]])


def test_what_all_words_share_is_subtracted():
    first, second = np.array([[4.0, 0.0]]), np.array([[0.0, 2.0]])
    found = relative_maps(np.stack([first, second]), [(0,), (1,)], [(0,), (1,)])
    # Over their means [2, 0] and [0, 2]; the mean of both is [1, 1].
    assert np.array_equal(found, [[[1.0, 0.0]], [[0.0, 1.0]]])


def test_a_single_word_is_compared_with_even_attention():
    found = relative_maps(np.array([[[3.0, 1.0]]]), [(0,)], [(0,)])
    assert np.array_equal(found, [[[0.5, 0.0]]])


def test_a_map_of_zeros_stays_one():
    assert np.array_equal(relative_maps(np.zeros((1, 2, 2)), [(0,)], []), np.zeros((1, 2, 2)))
    assert np.array_equal(stretch(np.zeros((1, 2, 2))), np.zeros((1, 2, 2)))


def test_maps_are_stretched_on_their_own_or_by_their_shares():
    maps = np.array([[[1.0, 3.0]], [[0.0, 1.0]]])
    assert np.array_equal(stretch(maps), [[[0.0, 1.0]], [[0.0, 1.0]]])
    common = stretch(maps, [0.1, 0.6])
    assert common == pytest.approx(np.array([[[1 / 6, 0.5]], [[0.0, 1.0]]]))


# Machado et al. 2009, full severity, in linear RGB.
DEUTAN = [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
]
PROTAN = [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
]


@pytest.mark.parametrize("vision", [np.eye(3), np.array(DEUTAN), np.array(PROTAN)])
def test_the_ramp_gets_lighter_from_low_to_high(vision):
    srgb = color_ramp() / 255
    assert srgb.shape == (256, 3)
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    luminance = (linear @ vision.T).clip(0) @ [0.2126, 0.7152, 0.0722]
    # To rounding: 1 of 255 is up to 0.009 at the light end.
    assert (np.diff(luminance) > -0.004).all()
    assert (np.diff(luminance[::8]) > 0).all()
    assert luminance[0] < 0.05 < 0.75 < luminance[-1]
