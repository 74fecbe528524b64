"""The UNet and its training data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from sdcli.training.diffusion import HardExampleSampler, build_scheduler, build_unet, embed
from sdcli.training.text_encoder import SHORT, CaptionTokenizer, build_text_encoder
from tests.training.example_scenes import scene_of


def test_objects_with_a_high_loss_are_sampled_more_often() -> None:
    scenes = [scene_of("cat"), scene_of("dog"), scene_of("cat", "dog")]
    sampler = HardExampleSampler(scenes, levels=4)
    levels, hardness = torch.tensor([0.1, 0.4, 0.8, 1.0]), torch.tensor([1.0, 2.0, 1.5])
    rng = np.random.default_rng(0)
    for _ in range(400):
        chosen = rng.integers(0, 3, 4)
        sampler.update(chosen, levels * hardness[torch.from_numpy(chosen)])
    counts = np.bincount(sampler.choose(np.random.default_rng(1), 3000), minlength=3)
    assert counts[1] > counts[2] > counts[0] > 300
    other = HardExampleSampler(scenes, levels=4)
    other.load_state_dict(sampler.state_dict())
    repeated = other.choose(np.random.default_rng(1), 3000)
    assert np.array_equal(np.bincount(repeated, minlength=3), counts)


def test_embeddings_of_short_captions_are_padded_with_the_last_one(folder: Path) -> None:
    encoder = build_text_encoder(folder).eval()
    with torch.no_grad():
        embeddings = embed(encoder, CaptionTokenizer(folder)(["a cat"]))
    assert embeddings.shape == (1, 77, 128)
    assert torch.equal(
        embeddings[:, SHORT:], embeddings[:, SHORT - 1 : SHORT].expand(-1, 77 - SHORT, -1)
    )


def test_the_unet_predicts_v_for_the_latents_of_the_vae() -> None:
    latents = torch.zeros(1, 4, 16, 16)
    with torch.no_grad():
        v = build_unet()(latents, torch.tensor([500]), torch.zeros(1, 77, 128)).sample
    assert v.shape == latents.shape
    assert build_scheduler().config.prediction_type == "v_prediction"
