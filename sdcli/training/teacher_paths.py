"""Record the paths that latents take from noise to an image with the embedded model's defaults.

They are what a few-step LoRA learns from: the model with 20 steps and guidance is its teacher.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import load_file, save_file
from torch import Tensor

from sdcli.training.captions import make_caption
from sdcli.training.diffusion import build_scheduler
from sdcli.training.export import DEFAULTS
from sdcli.training.loop import half_precision
from sdcli.training.scenes import sample_for_training
from sdcli.training.tokenizer import LENGTH

SEED = 12
STEPS, GUIDANCE = 20, float(str(DEFAULTS["guidance_scale"]))
POINTS = 4
"""The points of a path that are recorded after the noise, at equal distances in steps."""

CHUNK = 64
"""Paths in a file. The training can be interrupted after each."""


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Latents (1 + POINTS, paths, 4, 16, 16), noise first, and embeddings (paths, 77, 128)."""

    latents: Tensor
    words: Tensor


def training_captions(first: int, count: int) -> list[str]:
    """Return random captions of scenes without held-out pairs; some are empty."""
    generators = [np.random.default_rng([SEED, index]) for index in range(first, first + count)]
    return [make_caption(rng, sample_for_training(rng)) for rng in generators]


@torch.no_grad()
def embed(pipeline: StableDiffusionPipeline, captions: list[str]) -> Tensor:
    """Return the embeddings (captions, 77, 128) of the model's own text encoder."""
    ids = pipeline.tokenizer(
        captions, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
    ).input_ids
    words: Tensor = pipeline.text_encoder(ids).last_hidden_state
    return words


@torch.no_grad()
def follow_teacher(pipeline: StableDiffusionPipeline, noise: Tensor, words: Tensor) -> Tensor:
    """Return the noise and the recorded points of its path, (1 + POINTS, *noise.shape)."""
    scheduler, x, points = build_scheduler(), noise, [noise]
    scheduler.set_timesteps(STEPS)
    both = torch.cat([embed(pipeline, [""]).expand_as(words), words])
    for index, timestep in enumerate(scheduler.timesteps):
        with half_precision():
            output = pipeline.unet(torch.cat([x, x]), timestep, both).sample.float()
        plain, prompted = output.chunk(2)
        v = plain + GUIDANCE * (prompted - plain)
        x = scheduler.step(v, timestep, x).prev_sample
        if (index + 1) % (STEPS // POINTS) == 0:
            points.append(x)
    return torch.stack(points)


def load_paths(pipeline: StableDiffusionPipeline, folder: Path, count: int) -> Paths:
    """Return ``count`` paths; those that ``folder`` does not have are recorded first."""
    pipeline.unet.set_attn_processor(AttnProcessor())
    files = [folder / f"{first:05d}.safetensors" for first in range(0, count, CHUNK)]
    folder.mkdir(parents=True, exist_ok=True)
    latents, words = [], []
    for index, file in enumerate(files):
        embeddings = embed(pipeline, training_captions(index * CHUNK, CHUNK))
        if not file.exists():
            _record(pipeline, file, embeddings, seed=index)
            print(f"teacher_paths  {(index + 1) * CHUNK}/{count}", flush=True)
        latents.append(load_file(file)["latents"])
        words.append(embeddings)
    return Paths(latents=torch.cat(latents, dim=1), words=torch.cat(words))


def _record(pipeline: StableDiffusionPipeline, file: Path, words: Tensor, seed: int) -> None:
    generator = torch.Generator().manual_seed(SEED * 10_000 + seed)
    noise = torch.randn(len(words), 4, 16, 16, generator=generator)
    temporary = file.with_suffix(".part")
    save_file({"latents": follow_teacher(pipeline, noise, words)}, temporary)
    os.replace(temporary, file)
