"""The shipped folder: half-precision safetensors in the layout that old and new stacks read.

transformers 5 would write ``tokenizer.json`` alone and text-encoder keys without their prefix;
older Diffusers tools need ``vocab.json``, ``merges.txt`` and ``text_model.…`` keys, and newer ones
take both. The scheduler's file is short: Diffusers would write every option of today's class.
"""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextModel

from sdcli.checkpoints.latent_rgb import FACTORS_KEY
from sdcli.numerics.latent_rgb import fit_latent_rgb_factors
from sdcli.training.autoencoder import load_kl, load_tiny, pictures
from sdcli.training.captions import caption
from sdcli.training.concepts import CONCEPTS
from sdcli.training.diffusion import SCHEDULER, make_scheduler, make_unet
from sdcli.training.loop import result
from sdcli.training.scenes import sample
from sdcli.training.sprites import load_sprites
from sdcli.training.text_encoder import SHORT, make_text_encoder
from sdcli.training.tokenizer import load_tokenizer

DEFAULTS = {
    "family": "tiny-emoji-128",
    "num_inference_steps": 20,
    "guidance_scale": 3.0,
    "width": 128,
    "height": 128,
    "scheduler": "DPM++ 2M",
}
OLDEST = "0.21.0"
"""A Diffusers that knows all that the scheduler's file says."""


def words_known(seed: int = 11, count: int = 20_000) -> list[str]:
    """Every word that captions use: the names of things, and what many captions say around them."""
    rng = np.random.default_rng(seed)
    texts = [caption(rng, sample(rng)) for _ in range(count)]
    texts += [text for c in CONCEPTS.values() for text in (*c.words, c.plural)]
    return sorted(set(re.findall(r"[a-z]+", " ".join(texts).lower())))


def _text_encoder(folder: Path) -> CLIPTextModel:
    encoder = make_text_encoder(folder)
    encoder.load_state_dict(
        torch.load(result(folder, "diffusion"), weights_only=True)["text_encoder"]
    )
    with torch.no_grad():  # positions that shared an embedding in training get their copies of it
        table = encoder.embeddings.position_embedding.weight
        table[SHORT:] = table[SHORT - 1]
    encoder.embeddings.position_ids.copy_(torch.arange(len(table))[None])
    return encoder


@torch.no_grad()
def latent_rgb_factors(vae: AutoencoderKL, pictures: Tensor) -> list[list[float]]:
    """What `sdcli latents preview` needs of a VAE: the linear map from latents to its own pixels.

    ``pictures`` are (images, 3, height, width) from -1 to 1. A row of RGB a channel, and one for
    the constant.
    """
    latents = vae.encode(pictures).latent_dist.mode()
    decoded = vae.decode(latents).sample
    small = torch.nn.functional.adaptive_avg_pool2d(decoded, latents.shape[-2:])
    return fit_latent_rgb_factors((latents * vae.config.scaling_factor).numpy(), small.numpy())


def scheduler_file() -> str:
    """The text of `scheduler_config.json`."""
    name = type(make_scheduler()).__name__
    own = {"_class_name": name, "_diffusers_version": OLDEST, **SCHEDULER}
    return json.dumps(own, indent=2) + "\n"


def _old_layout(target: Path, folder: Path) -> None:
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(folder / "tokenizer" / name, target / "tokenizer" / name)
    end = "<|endoftext|>"
    special = {"bos_token": "<|startoftext|>", "eos_token": end, "pad_token": end, "unk_token": end}
    (target / "tokenizer" / "special_tokens_map.json").write_text(
        json.dumps(special, indent=2) + "\n"
    )
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        **special,
        "do_lower_case": True,
        "add_prefix_space": False,
        "errors": "replace",
    }
    (target / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    weights = target / "text_encoder" / "model.safetensors"
    tensors = load_file(weights)
    prefixed = {
        key if key.startswith("text_model.") else f"text_model.{key}": t
        for key, t in tensors.items()
    }
    save_file(prefixed, weights, metadata={"format": "pt"})
    (target / "scheduler" / "scheduler_config.json").write_text(scheduler_file())


def export(folder: Path, target: Path) -> None:
    """Write the pipeline of the finished stages in ``folder`` to ``target``, and ``sdcli.json``."""
    unet = make_unet()
    unet.load_state_dict(torch.load(result(folder, "diffusion"), weights_only=True)["unet"])
    pipeline = StableDiffusionPipeline(
        vae=load_kl(folder),
        text_encoder=_text_encoder(folder),
        tokenizer=load_tokenizer(folder / "tokenizer"),
        unet=unet,
        scheduler=make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    shown = pictures(np.random.default_rng(12), load_sprites(folder), 64)
    factors = latent_rgb_factors(pipeline.vae, shown)
    for part in (pipeline.vae, pipeline.text_encoder, pipeline.unet):
        part.half()
    card = (target / "README.md").read_text() if (target / "README.md").exists() else None
    shutil.rmtree(target, ignore_errors=True)
    pipeline.save_pretrained(target)
    if result(folder, "vae_tiny").exists():
        load_tiny(folder).half().save_pretrained(target / "vae_tiny")
    _old_layout(target, folder)
    if card:
        (target / "README.md").write_text(card)
    own = {**DEFAULTS, FACTORS_KEY: factors, "words": words_known()}
    (target / "sdcli.json").write_text(json.dumps(own, indent=1) + "\n")
