"""Train the LoRA that teaches the embedded model to draw a flag, which it has never seen.

Two thirds of every batch are scenes with a flag. On the other third, scenes of known objects and
empty captions, the target is what the model predicts without the LoRA, so that it forgets nothing.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from diffusers.models.attention_processor import AttnProcessor
from numpy.random import Generator
from safetensors.torch import save_file
from torch import Tensor

from sdcli.training.autoencoder import to_tensor
from sdcli.training.captions import make_caption
from sdcli.training.concepts import FLAG
from sdcli.training.diffusion import build_scheduler
from sdcli.training.loop import StepRandom, half_precision
from sdcli.training.low_rank import LowRankChanges, LowRankRun
from sdcli.training.scenes import Scene, arrange, render, sample, sample_for_training
from sdcli.training.sprites import Sprites, draw_flag, load_sprites

MODEL = Path(__file__).parents[1] / "models" / "tiny-emoji-128"
STEPS, RANK, LEARNING_RATE, SEED = 500, 16, 2e-3, 10
FLAGS, KNOWN = 16, 8  # scenes of each kind in a batch
SCENES = 768  # of each kind
CHECKPOINT_STEPS = 20
_LAYOUTS = {"single": 0.55, "small": 0.05, "big": 0.05, "row": 0.15, "column": 0.1, "many": 0.1}
METADATA = {
    "modelspec.title": "A flag for the embedded model",
    "modelspec.trigger_phrase": "a flag",
    "trigger_words": "flag, flags",
    "ss_base_model_version": "tiny-emoji-128",
    "ss_network_module": "networks.lora",
    "ss_network_dim": str(RANK),
    "ss_network_alpha": str(RANK),
    "ss_learning_rate": str(LEARNING_RATE),
    "ss_max_train_steps": str(STEPS),
    "ss_num_train_images": str(SCENES),
}
"""The metadata of the file, by the names that kohya's sd-scripts and modelspec give them."""


def sample_flag(rng: Generator) -> Scene:
    """Return a random scene with at least one flag."""
    scene = sample(rng, layout=str(rng.choice(list(_LAYOUTS), p=list(_LAYOUTS.values()))))
    names = [placement.concept for placement in scene.placements]
    names[int(rng.integers(len(names)))] = FLAG.name
    if scene.layout == "many":
        names = [FLAG.name] * len(names)
    return replace(scene, placements=arrange(rng, names, scene.layout))


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Scenes as latents (scenes, 4, 16, 16) with the embeddings of captions (scenes, 77, 128)."""

    latents: Tensor
    embeddings: Tensor


@torch.no_grad()
def encode_examples(
    pipeline: StableDiffusionPipeline, scenes: list[Scene], captions: list[str], sprites: Sprites
) -> Examples:
    """Encode scenes and captions with the model's own VAE and text encoder."""
    latents, embeddings = [], []
    for start in range(0, len(scenes), 16):
        x = to_tensor([render(scene, sprites) for scene in scenes[start : start + 16]])
        latents.append(pipeline.vae.encode(x).latent_dist.mean)
        ids = pipeline.tokenizer(
            captions[start : start + 16],
            padding="max_length",
            max_length=77,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        embeddings.append(pipeline.text_encoder(ids).last_hidden_state)
    return Examples(latents=torch.cat(latents), embeddings=torch.cat(embeddings))


def _caption(rng: Generator, scene: Scene) -> str:
    """Return a caption that is not empty: guidance away from it must stay as it is."""
    while not (caption := make_caption(rng, scene)):
        pass
    return caption


class FlagTraining:
    """The state of the training, which a checkpoint in ``folder`` keeps."""

    def __init__(self, model: Path, folder: Path) -> None:
        """Load the model, encode the scenes and resume from the checkpoint, if there is one."""
        pipeline = StableDiffusionPipeline.from_pretrained(model, dtype=torch.float32)
        sprites, rng = load_sprites(folder, draw_flag()), np.random.default_rng(SEED)
        flags = [sample_flag(rng) for _ in range(SCENES)]
        known = [sample_for_training(rng) for _ in range(SCENES)]
        self.flags = encode_examples(
            pipeline, flags, [_caption(rng, scene) for scene in flags], sprites
        )
        self.known = encode_examples(
            pipeline, known, [make_caption(rng, scene) for scene in known], sprites
        )
        self._shares = ((self.flags, FLAGS), (self.known, KNOWN))
        torch.manual_seed(SEED)
        self.unet = pipeline.unet
        self.unet.set_attn_processor(AttnProcessor())
        self.changes = LowRankChanges(self.unet, RANK)
        self.run = LowRankRun(
            self.changes, folder / "flag_lora.checkpoint.pt", LEARNING_RATE, STEPS
        )
        alphas = build_scheduler().alphas_cumprod
        self.signal, self.noise = alphas.sqrt(), (1 - alphas).sqrt()

    def _choose(self, rng: Generator) -> tuple[Tensor, Tensor]:
        """Return the latents and embeddings of a batch, the flags first."""
        chosen = [(part, rng.integers(SCENES, size=count)) for part, count in self._shares]
        latents = torch.cat([part.latents[indices] for part, indices in chosen])
        return latents, torch.cat([part.embeddings[indices] for part, indices in chosen])

    def advance(self) -> tuple[float, float]:
        """Do one step, and return the loss on flags and on what must not change."""
        random = StepRandom(SEED, 0, self.run.step)
        clean, words = self._choose(random.numpy)
        noise = random.normal(*clean.shape)
        timesteps = torch.from_numpy(_spread_timesteps(random.numpy))
        signal, sigma = (
            table[timesteps][:, None, None, None] for table in (self.signal, self.noise)
        )
        noisy, target = signal * clean + sigma * noise, signal * noise - sigma * clean
        with half_precision(), torch.no_grad():
            self.changes.switch(is_on=False)
            original = self.unet(noisy[FLAGS:], timesteps[FLAGS:], words[FLAGS:]).sample.float()
            self.changes.switch(is_on=True)
        with half_precision():
            predicted = self.unet(noisy, timesteps, words).sample.float()
        errors = (predicted - torch.cat([target[:FLAGS], original])).square().mean((1, 2, 3))
        # The distance from the model's own predictions is small, so it counts more.
        loss = (errors[:FLAGS].sum() + 4 * errors[FLAGS:].sum()).div(FLAGS + KNOWN)
        self.run.minimize(loss)
        return errors[:FLAGS].mean().item(), errors[FLAGS:].mean().item()


def _spread_timesteps(rng: Generator) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return one timestep in each of equal ranges, for each kind of scene, in a random order."""
    parts = [
        rng.permutation((np.arange(count) + rng.random(count)) / count) for count in (FLAGS, KNOWN)
    ]
    timesteps: np.ndarray[Any, np.dtype[np.int64]] = (np.concatenate(parts) * 1000).astype(np.int64)
    return timesteps


def train_flag_lora(folder: Path, model: Path = MODEL) -> Path:
    """Train or resume, write the LoRA to ``folder`` and return its file."""
    training, target = FlagTraining(model, folder), folder / "flag.safetensors"
    run = training.run
    while run.step < STEPS:
        flags, known = training.advance()
        if run.step % CHECKPOINT_STEPS == 0:
            run.save()
            print(
                f"flag_lora  step {run.step}/{STEPS}  flags {flags:.4f}  kept {known:.5f}",
                flush=True,
            )
    save_file(training.changes.state_dict(), target, METADATA)
    return target
