"""Export the trained stages as a model folder in half precision.

Old and new versions of the libraries can read it. transformers 5 would write only
``tokenizer.json``, and text-encoder keys without their prefix. Older versions need ``vocab.json``,
``merges.txt`` and ``text_model.`` keys; newer ones accept both.
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
from sdcli.training.autoencoder import load_kl, load_tiny, training_images
from sdcli.training.captions import make_caption
from sdcli.training.concepts import CONCEPTS
from sdcli.training.diffusion import SCHEDULER, build_scheduler, build_unet
from sdcli.training.loop import result_file
from sdcli.training.scenes import sample
from sdcli.training.sprites import load_sprites
from sdcli.training.text_encoder import SHORT, build_text_encoder
from sdcli.training.tokenizer import load_tokenizer

DEFAULTS = {
    "family": "tiny-emoji-128",
    "num_inference_steps": 20,
    "guidance_scale": 3.0,
    "width": 128,
    "height": 128,
    "scheduler": "DPM++ 2M",
}
MIN_DIFFUSERS = "0.21.0"
"""A version of Diffusers that supports everything in the scheduler's file."""


def vocabulary(seed: int = 11, count: int = 20_000) -> list[str]:
    """Return all words of captions: the names of objects, and the words in many random captions."""
    rng = np.random.default_rng(seed)
    texts = [make_caption(rng, sample(rng)) for _ in range(count)]
    texts += [text for c in CONCEPTS.values() for text in (*c.words, c.plural)]
    return sorted(set(re.findall(r"[a-z]+", " ".join(texts).lower())))


def _load_text_encoder(folder: Path) -> CLIPTextModel:
    encoder = build_text_encoder(folder)
    encoder.load_state_dict(
        torch.load(result_file(folder, "diffusion"), weights_only=True)["text_encoder"]
    )
    # Training clamps the position ids, so that all positions from SHORT - 1 on share an embedding.
    # In the exported model each position has its own, with the same values.
    with torch.no_grad():
        table = encoder.embeddings.position_embedding.weight
        table[SHORT:] = table[SHORT - 1]
    encoder.embeddings.position_ids.copy_(torch.arange(len(table))[None])
    return encoder


@torch.no_grad()
def latent_rgb_factors(vae: AutoencoderKL, images: Tensor) -> list[list[float]]:
    """Fit the linear map from latents to the VAE's pixels, for previews.

    ``images`` are (batch, 3, height, width) in -1 to 1. Returns one RGB row for each latent channel
    and one for the constant.
    """
    latents = vae.encode(images).latent_dist.mode()
    decoded = vae.decode(latents).sample
    small = torch.nn.functional.adaptive_avg_pool2d(decoded, latents.shape[-2:])
    return fit_latent_rgb_factors((latents * vae.config.scaling_factor).numpy(), small.numpy())


def scheduler_file() -> str:
    """Return the text of `scheduler_config.json`.

    Diffusers would write all options of the class, with the defaults of the installed version.
    """
    class_name = type(build_scheduler()).__name__
    config = {"_class_name": class_name, "_diffusers_version": MIN_DIFFUSERS, **SCHEDULER}
    return json.dumps(config, indent=2) + "\n"


def _write_tokenizer(target: Path, folder: Path) -> None:
    """Write the tokenizer files of older versions."""
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


def _prefix_text_encoder_keys(target: Path) -> None:
    """Add the prefix of older versions to the keys of the text encoder."""
    weights = target / "text_encoder" / "model.safetensors"
    tensors = load_file(weights)
    prefixed = {
        key if key.startswith("text_model.") else f"text_model.{key}": tensor
        for key, tensor in tensors.items()
    }
    save_file(prefixed, weights, metadata={"format": "pt"})


def export(folder: Path, target: Path) -> None:
    """Write the pipeline of the finished stages in ``folder`` to ``target``.

    An existing model card in ``target`` is kept.
    """
    pipeline = _build_pipeline(folder)
    images = training_images(np.random.default_rng(12), load_sprites(folder), 64)
    # Before the weights are rounded to half precision.
    factors = latent_rgb_factors(pipeline.vae, images)
    for component in (pipeline.vae, pipeline.text_encoder, pipeline.unet):
        component.half()
    card = (target / "README.md").read_text() if (target / "README.md").exists() else None
    shutil.rmtree(target, ignore_errors=True)
    pipeline.save_pretrained(target)
    if result_file(folder, "vae_tiny").exists():
        load_tiny(folder).half().save_pretrained(target / "vae_tiny")
    _write_tokenizer(target, folder)
    _prefix_text_encoder_keys(target)
    (target / "scheduler" / "scheduler_config.json").write_text(scheduler_file())
    if card:
        (target / "README.md").write_text(card)
    defaults = {**DEFAULTS, FACTORS_KEY: factors, "words": vocabulary()}
    (target / "sdcli.json").write_text(json.dumps(defaults, indent=1) + "\n")


def _build_pipeline(folder: Path) -> StableDiffusionPipeline:
    unet = build_unet()
    unet.load_state_dict(torch.load(result_file(folder, "diffusion"), weights_only=True)["unet"])
    return StableDiffusionPipeline(
        vae=load_kl(folder),
        text_encoder=_load_text_encoder(folder),
        tokenizer=load_tokenizer(folder / "tokenizer"),
        unet=unet,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
