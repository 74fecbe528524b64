"""Noise → latents, guided by words: the UNet's training.

The forward process mixes clean latents x₀ with noise ε: x_t = √ᾱ_t·x₀ + √(1−ᾱ_t)·ε (Ho et al.,
2020). The UNet sees x_t, t and the caption, and predicts v = √ᾱ_t·ε − √(1−ᾱ_t)·x₀ (Salimans & Ho,
2022): a target that stays meaningful at both ends, so that flat backgrounds follow the words. A
tenth of the captions is empty: the same network learns what pictures look like without words, and
guidance (Ho & Salimans, 2022) later steps away from that. An exponential moving average of the
weights is kept.
"""

import os
from pathlib import Path

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from transformers import CLIPTextModel

from sdcli.training.autoencoder import load_kl, to_tensor
from sdcli.training.captions import caption
from sdcli.training.concepts import CLASS_INDEX
from sdcli.training.loop import WORKERS, StepRandom, half_precision, pin_worker
from sdcli.training.scenes import Scene, render, sample_for_training
from sdcli.training.sprites import load_sprites
from sdcli.training.text_encoder import SHORT, WIDTH, Ids, load_text_encoder
from sdcli.training.tokenizer import LENGTH

SCENES = 36_000
SCENES_SEED = 5
# What the shipped scheduler's file says. No option of the solver: DPMSolverMultistepScheduler is
# DPM++ 2M by itself, and another class made from the file keeps its own. Clipping and the last
# alpha are for such classes (DDIM clips unless told otherwise).
SCHEDULER = {
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


def make_unet() -> UNet2DConditionModel:
    """(batch, 4, 16, 16) noisy latents, timesteps and (batch, 77, 128) words → predicted v."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(64, 128, 96),  # widest where the words come in
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,  # Diffusers' old name for the number of heads
        norm_num_groups=8,
    )


def make_scheduler() -> DPMSolverMultistepScheduler:
    """Stable Diffusion's noise schedule, predicting v, for DPM++ 2M."""
    return DPMSolverMultistepScheduler.from_config(SCHEDULER)


def training_scenes() -> list[Scene]:
    """The scenes whose latents are kept; their captions are drawn anew each time."""
    return [sample_for_training(np.random.default_rng([SCENES_SEED, i])) for i in range(SCENES)]


@torch.no_grad()
def _encode(rank: int, world: int, folder: Path) -> None:
    """Encode this worker's share of the scenes to a part of its own."""
    part = _part(folder, rank)
    if part.exists():
        return
    pin_worker(rank)
    vae, sprites = load_kl(folder), load_sprites(folder)
    scenes = training_scenes()[rank::world]
    encoded = []
    for start in range(0, len(scenes), 16):
        x = to_tensor([render(scene, sprites) for scene in scenes[start : start + 16]])
        x = x.contiguous(memory_format=torch.channels_last)
        encoded.append(vae.encode(x).latent_dist.mean.half())
    unfinished = part.with_suffix(".part")
    torch.save(torch.cat(encoded), unfinished)
    os.replace(unfinished, part)


def _part(folder: Path, rank: int) -> Path:
    return folder / f"latents.{rank}.pt"


def encode_scenes(folder: Path, workers: int = WORKERS) -> Path:
    """Encode all training scenes once, to ``latents.pt``: (scenes, 4, 16, 16) half precision."""
    target = folder / "latents.pt"
    if not target.exists():
        spawn(_encode, (workers, folder), nprocs=workers)  # type: ignore[no-untyped-call]
        parts = [torch.load(_part(folder, rank), weights_only=True) for rank in range(workers)]
        latents = torch.empty(SCENES, *parts[0].shape[1:], dtype=torch.half)
        for rank, part in enumerate(parts):
            latents[rank::workers] = part
        torch.save(latents, target)
        for rank in range(workers):
            _part(folder, rank).unlink()
    return target


def embed(encoder: CLIPTextModel, ids: Tensor) -> Tensor:
    """(batch, 77, 128) words; short ids go on with their last padding: cheap, and close."""
    words: Tensor = encoder(ids).last_hidden_state
    missing = LENGTH - words.shape[1]
    return torch.cat([words, words[:, -1:].expand(-1, missing, -1)], dim=1) if missing else words


class HardExampleSampler(nn.Module):
    """Which things are drawn badly, and so must be drawn more often: learned from the losses.

    Kept as buffers, so that a checkpoint holds it.
    """

    least, most = 0.5, 3.0  # of the usual chance
    usual: Tensor
    relative: Tensor

    def __init__(self, scenes: list[Scene], levels: int) -> None:
        """``levels`` is how many noise levels a batch has."""
        super().__init__()
        self.shares = torch.zeros(len(scenes), len(CLASS_INDEX))  # of a scene in its things
        for number, scene in enumerate(scenes):
            for box in scene.placements:
                self.shares[number, CLASS_INDEX[box.concept]] += 1 / len(scene.placements)
        self.register_buffer("usual", torch.ones(levels))
        self.register_buffer("relative", torch.ones(len(CLASS_INDEX)))

    def choose(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """``count`` numbers of scenes; those of difficult things come more often."""
        chances = (self.shares @ self.relative.clamp(self.least, self.most)).double().numpy()
        return rng.choice(len(chances), count, p=chances / chances.sum())

    def learn(self, chosen: NDArray[np.int64], errors: Tensor) -> None:
        """Take in the errors of a batch, in the order of its noise levels."""
        shares = self.shares[torch.from_numpy(chosen)]
        change = shares.T @ (errors / self.usual) - shares.sum(0) * self.relative
        self.relative += 0.03 * change
        self.usual.lerp_(errors, 0.02)


class DiffusionStage:
    """Trains the UNet, and the text encoder with it."""

    name = "diffusion"
    muon_lr, adamw_lr, weight_decay, ema_decay = 4e-3, 1.5e-3, 0.01, 0.998
    batch = 48
    short_until = 0.94  # then captions are encoded at their full 77 tokens

    def __init__(self, folder: Path) -> None:
        """Load latents, captions and the taught text encoder."""
        self.latents = torch.load(folder / "latents.pt", weights_only=True)
        self.scenes = training_scenes()
        self.ids = Ids(folder)
        self.encoder = load_text_encoder(folder)
        self.unet = make_unet().to(memory_format=torch.channels_last)
        self.unet.set_attn_processor(AttnProcessor())  # the fused one is slow backwards in bfloat16
        self.difficulty = HardExampleSampler(self.scenes, self.batch)
        self.modules: dict[str, nn.Module] = {
            "unet": self.unet,
            "text_encoder": self.encoder,
            "difficulty": self.difficulty,
        }
        alphas = make_scheduler().alphas_cumprod
        self.signal, self.noise = alphas.sqrt(), (1 - alphas).sqrt()

    def loss(self, draw: StepRandom, progress: float, rank: int) -> tuple[Tensor, dict[str, float]]:
        """The mean square error of v on a batch of every noise level."""
        chosen = self.difficulty.choose(draw.numpy, self.batch)
        texts = [caption(draw.numpy, self.scenes[i]) for i in chosen]
        words = embed(
            self.encoder, self.ids(texts, SHORT if progress < self.short_until else LENGTH)
        )
        clean = self.latents[torch.from_numpy(chosen)].float()
        noise = draw.normal(*clean.shape)
        slots = (np.arange(self.batch) + draw.numpy.random(self.batch)) / self.batch
        timesteps = torch.from_numpy((slots * 1000).astype(np.int64))  # one of every noise level
        signal, sigma = (
            table[timesteps][:, None, None, None] for table in (self.signal, self.noise)
        )
        noisy = (signal * clean + sigma * noise).contiguous(memory_format=torch.channels_last)
        target = signal * noise - sigma * clean
        with half_precision():
            predicted = self.unet(noisy, timesteps, words).sample.float()
        error = (predicted - target).square().mean((1, 2, 3))
        self.difficulty.learn(chosen, error.detach())
        thirds = error.detach().view(3, -1).mean(1).tolist()
        return error.mean(), dict(zip(("low", "middle", "high"), thirds, strict=True))
