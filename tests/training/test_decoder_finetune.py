"""The fine-tuning of the decoder."""

from __future__ import annotations

from pathlib import Path

import torch

from sdcli.training.decoder_finetune import LatentRefiner
from sdcli.training.diffusion import build_unet
from sdcli.training.loop import StepRandom, result_file
from sdcli.training.text_encoder import build_text_encoder


def test_refined_latents_keep_their_shape_and_depend_on_the_caption(folder: Path) -> None:
    torch.manual_seed(0)
    encoder, unet = build_text_encoder(folder), build_unet()
    trained = {"unet": unet.state_dict(), "text_encoder": encoder.state_dict()}
    torch.save(trained, result_file(folder, "diffusion"))
    refine, clean = LatentRefiner(folder), torch.randn(2, 4, 16, 16)
    refined = refine(StepRandom(1, 0, 0), clean, ["a cat", "a dog"])
    other = refine(StepRandom(1, 0, 0), clean, ["a cat", "a bus"])
    assert refined.shape == clean.shape
    assert torch.equal(refined[0], other[0])
    assert not torch.equal(refined[1], other[1])
