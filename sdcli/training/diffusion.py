"""Train the UNet to denoise latents, guided by captions.

The forward process mixes clean latents x₀ with noise ε: x_t = √ᾱ_t·x₀ + √(1−ᾱ_t)·ε (Ho et al.,
2020). From x_t, t and the caption the UNet predicts v = √ᾱ_t·ε − √(1−ᾱ_t)·x₀ (Salimans & Ho, 2022),
a target that is informative at both ends of the noise schedule. A tenth of the captions is empty,
which trains the unconditional prediction for classifier-free guidance (Ho & Salimans, 2022).
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
from sdcli.training.captions import make_caption
from sdcli.training.concepts import CLASS_INDEX
from sdcli.training.loop import WORKERS, StepRandom, half_precision, pin_worker
from sdcli.training.scenes import Scene, render, sample_for_training
from sdcli.training.sprites import load_sprites
from sdcli.training.text_encoder import SHORT, WIDTH, CaptionTokenizer, load_text_encoder
from sdcli.training.tokenizer import LENGTH

SCENES = 36_000
SCENES_SEED = 5

# The contents of the shipped scheduler_config.json. It has no solver options:
# DPMSolverMultistepScheduler is DPM++ 2M by default, and another class made from the file keeps its
# own defaults. clip_sample and set_alpha_to_one are for such classes (DDIM clips by default).
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


def build_unet() -> UNet2DConditionModel:
    """Build the UNet: latents (batch, 4, 16, 16) and embeddings (batch, 77, 128) give v."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(64, 128, 96),  # widest at the level with cross-attention
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,  # the number of heads, despite its name in Diffusers
        norm_num_groups=8,
    )


def build_scheduler() -> DPMSolverMultistepScheduler:
    """Build DPM++ 2M for v prediction with the noise schedule of Stable Diffusion."""
    return DPMSolverMultistepScheduler.from_config(SCHEDULER)


def training_scenes() -> list[Scene]:
    """Return the scenes that are encoded once; their captions are random in every step."""
    return [sample_for_training(np.random.default_rng([SCENES_SEED, i])) for i in range(SCENES)]


@torch.no_grad()
def _encode_share(rank: int, world: int, folder: Path) -> None:
    """Encode the scenes of one worker to a separate file."""
    target = _share_file(folder, rank)
    if target.exists():
        return
    pin_worker(rank)
    vae, sprites = load_kl(folder), load_sprites(folder)
    scenes = training_scenes()[rank::world]
    encoded = []
    for start in range(0, len(scenes), 16):
        x = to_tensor([render(scene, sprites) for scene in scenes[start : start + 16]])
        x = x.contiguous(memory_format=torch.channels_last)
        encoded.append(vae.encode(x).latent_dist.mean.half())
    # The name of a complete file appears only when it is complete.
    temporary = target.with_suffix(".part")
    torch.save(torch.cat(encoded), temporary)
    os.replace(temporary, target)


def _share_file(folder: Path, rank: int) -> Path:
    return folder / f"latents.{rank}.pt"


def encode_scenes(folder: Path, workers: int = WORKERS) -> Path:
    """Encode all training scenes once to ``latents.pt``, (scenes, 4, 16, 16) in half precision."""
    target = folder / "latents.pt"
    if not target.exists():
        spawn(_encode_share, (workers, folder), nprocs=workers)  # type: ignore[no-untyped-call]
        shares = [
            torch.load(_share_file(folder, rank), weights_only=True) for rank in range(workers)
        ]
        latents = torch.empty(SCENES, *shares[0].shape[1:], dtype=torch.half)
        for rank, share in enumerate(shares):
            latents[rank::workers] = share
        torch.save(latents, target)
        for rank in range(workers):
            _share_file(folder, rank).unlink()
    return target


def embed(encoder: CLIPTextModel, ids: Tensor) -> Tensor:
    """Return embeddings (batch, 77, 128) of ids (batch, tokens), which may have fewer tokens.

    The last embedding is repeated up to 77. It stands for padding, whose embeddings are nearly
    equal, and this is much faster than encoding all of them.
    """
    embeddings: Tensor = encoder(ids).last_hidden_state
    missing = LENGTH - embeddings.shape[1]
    if not missing:
        return embeddings
    return torch.cat([embeddings, embeddings[:, -1:].expand(-1, missing, -1)], dim=1)


class HardExampleSampler(nn.Module):
    """Sample scenes, those of objects with a high loss more often.

    ``usual`` is the average loss at each noise level, ``relative`` that of each object relative to
    the average. They are buffers, so that checkpoints include them.
    """

    # Bounds of the sampling weight, so that no object disappears or dominates.
    least, most = 0.5, 3.0
    usual: Tensor
    relative: Tensor

    def __init__(self, scenes: list[Scene], levels: int) -> None:
        """``levels`` is the number of noise levels in a batch."""
        super().__init__()
        # The share of each object in each scene.
        self.shares = torch.zeros(len(scenes), len(CLASS_INDEX))
        for index, scene in enumerate(scenes):
            for box in scene.placements:
                self.shares[index, CLASS_INDEX[box.concept]] += 1 / len(scene.placements)
        self.register_buffer("usual", torch.ones(levels))
        self.register_buffer("relative", torch.ones(len(CLASS_INDEX)))

    def choose(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Return the indices of ``count`` random scenes."""
        weights = (self.shares @ self.relative.clamp(self.least, self.most)).double().numpy()
        return rng.choice(len(weights), count, p=weights / weights.sum())

    def update(self, indices: NDArray[np.int64], errors: Tensor) -> None:
        """Learn from the errors of the scenes ``indices``, in the order of their noise levels."""
        shares = self.shares[torch.from_numpy(indices)]
        change = shares.T @ (errors / self.usual) - shares.sum(0) * self.relative
        self.relative += 0.03 * change
        self.usual.lerp_(errors, 0.02)


class DiffusionStage:
    """Train the UNet together with the text encoder."""

    name = "diffusion"
    muon_lr, adamw_lr, weight_decay, ema_decay = 4e-3, 1.5e-3, 0.01, 0.998
    batch = 48
    # Captions are encoded at 24 tokens, at the end at 77 as in use.
    short_until = 0.94

    def __init__(self, folder: Path) -> None:
        """Load the latents, the scenes and the pretrained text encoder."""
        self.latents = torch.load(folder / "latents.pt", weights_only=True)
        self.scenes = training_scenes()
        self.tokenize = CaptionTokenizer(folder)
        self.encoder = load_text_encoder(folder)
        self.unet = build_unet().to(memory_format=torch.channels_last)
        # The backward pass of the fused processor is slow in bfloat16.
        self.unet.set_attn_processor(AttnProcessor())
        self.sampler = HardExampleSampler(self.scenes, self.batch)
        self.modules: dict[str, nn.Module] = {
            "unet": self.unet,
            "text_encoder": self.encoder,
            "difficulty": self.sampler,
        }
        alphas = build_scheduler().alphas_cumprod
        self.signal, self.noise = alphas.sqrt(), (1 - alphas).sqrt()

    def loss(
        self, random: StepRandom, progress: float, rank: int
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the mean square error of v on a batch that covers all noise levels."""
        indices = self.sampler.choose(random.numpy, self.batch)
        texts = [make_caption(random.numpy, self.scenes[i]) for i in indices]
        embeddings = embed(
            self.encoder, self.tokenize(texts, SHORT if progress < self.short_until else LENGTH)
        )
        clean = self.latents[torch.from_numpy(indices)].float()
        noise = random.normal(*clean.shape)
        # Stratified: one timestep in each of `batch` equal ranges, which varies the loss less.
        positions = (np.arange(self.batch) + random.numpy.random(self.batch)) / self.batch
        timesteps = torch.from_numpy((positions * 1000).astype(np.int64))
        signal, sigma = (
            table[timesteps][:, None, None, None] for table in (self.signal, self.noise)
        )
        noisy = (signal * clean + sigma * noise).contiguous(memory_format=torch.channels_last)
        target = signal * noise - sigma * clean
        with half_precision():
            predicted = self.unet(noisy, timesteps, embeddings).sample.float()
        error = (predicted - target).square().mean((1, 2, 3))
        self.sampler.update(indices, error.detach())
        thirds = error.detach().view(3, -1).mean(1).tolist()
        return error.mean(), dict(zip(("low", "middle", "high"), thirds, strict=True))
