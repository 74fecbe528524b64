"""Renderers turn latents into images of the right size, and report what went wrong."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sdcli.engine.loading.vae import load_vae
from sdcli.engine.preview import linear_renderer, loaded_vae_renderer, vae_renderer
from sdcli.engine.vae.roundtrip import decode_array
from sdcli.errors import UsageError
from tests.jobs import CPU

LATENTS = np.random.default_rng(0).standard_normal((4, 8, 6)).astype(np.float32)
ROOT = Path(__file__).parents[2]


def test_every_renderer_gives_pixels_of_the_size_of_the_image() -> None:
    warnings: list[str] = []
    for render in (
        linear_renderer(CPU),
        vae_renderer(CPU, warnings.append),
        vae_renderer(replace(CPU, vae="tiny"), warnings.append),
    ):
        pixels = render(LATENTS)
        assert (pixels.shape, pixels.dtype) == ((64, 48, 3), np.uint8)
    assert warnings == []


def test_a_vae_renderer_decodes() -> None:
    loaded = load_vae(CPU)
    expected = decode_array(loaded, LATENTS).pixels
    assert np.array_equal(loaded_vae_renderer(loaded, print)(LATENTS), expected)


def test_notes_of_loading_and_events_of_decoding_are_passed_on() -> None:
    warnings: list[str] = []
    noted = replace(load_vae(CPU), notes=("assumed",))
    black = np.full((4, 8, 8), -1e4, np.float32)
    decoded = decode_array(noted, black)
    loaded_vae_renderer(noted, warnings.append)(black)
    assert tuple(warnings) == decoded.events


def test_the_linear_approximation_needs_latents_of_its_model() -> None:
    assert linear_renderer(CPU, channels=4)
    with pytest.raises(UsageError, match="16 channels") as caught:
        linear_renderer(CPU, channels=16)
    assert caught.value.code == "latents.channels"


_PROBE = """
import sys
import numpy as np
from sdcli.engine.preview import linear_renderer
from sdcli.pipeline_spec import PipelineSpec
linear_renderer(PipelineSpec())(np.zeros((4, 8, 8), np.float32))
assert not {"torch", "diffusers", "transformers"} & set(sys.modules)
"""


def test_the_linear_approximation_needs_no_torch() -> None:
    subprocess.run([sys.executable, "-c", _PROBE], cwd=ROOT, check=True)
