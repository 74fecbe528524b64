"""Train the ControlNets of the embedded model (Zhang et al., 2023): a map of objects, and edges.

Each is a copy of the first half of the UNet, which also sees the control image. The middle has no
transformer, because at 4x4 cells it adds little and would be a fifth of the file. The UNet stays
as it is. Pairs that are held out from the training of the UNet are held out here too.
"""

import inspect
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sdcli.storage.images.edges import find_edges
from sdcli.training.captions import make_caption
from sdcli.training.control_scenes import arrange_freely, blur_a_little, draw_map
from sdcli.training.diffusion import build_scheduler
from sdcli.training.flag_lora import MODEL, encode_examples
from sdcli.training.loop import StepRandom, half_precision, result_file, train
from sdcli.training.scenes import Scene, render, sample_for_training
from sdcli.training.sprites import load_sprites

SCENES, SCENES_SEED = 6000, 12
USUAL_SHARE = 0.2
"""Share of scenes that are arranged as the UNet learned it."""

EMBEDDING_CHANNELS = (8, 16, 48, 96)
"""Of the part that reads the control image, from 128 to 16 pixels."""


def build_controlnet(unet: UNet2DConditionModel) -> ControlNetModel:
    """Build a ControlNet with the weights of the UNet."""
    config = {k: v for k, v in unet.config.items() if k in _taken_options()}
    net = ControlNetModel.from_config(
        {
            **config,
            "mid_block_type": "UNetMidBlock2D",
            "conditioning_embedding_out_channels": EMBEDDING_CHANNELS,
        }
    )
    own, copied = net.state_dict(), unet.state_dict()
    net.load_state_dict({name: copied.get(name, value) for name, value in own.items()})
    # The other layers at zero already keep the UNet as it is; this one would only delay learning.
    net.controlnet_cond_embedding.conv_out.reset_parameters()
    return net


def _taken_options() -> set[str]:
    """Return the options of a UNet that a ControlNet has too."""
    return set(inspect.signature(ControlNetModel.__init__).parameters) - {"self"}


def prepare_examples(folder: Path) -> dict[str, Tensor]:
    """Return latents, embeddings of captions, and both kinds of control images of all scenes."""
    target = folder / "controls.pt"
    if not target.exists():
        temporary = target.with_suffix(".part")
        torch.save(_make_examples(folder), temporary)
        os.replace(temporary, target)
    examples: dict[str, Tensor] = torch.load(target, weights_only=True)
    return examples


def _make_scene(index: int) -> Scene:
    rng = np.random.default_rng([SCENES_SEED, index])
    scene = sample_for_training(rng)
    return scene if rng.random() < USUAL_SHARE else arrange_freely(rng, scene)


def _make_examples(folder: Path) -> dict[str, Tensor]:
    pipeline = StableDiffusionPipeline.from_pretrained(MODEL, dtype=torch.float32)
    sprites, rng = load_sprites(folder), np.random.default_rng(SCENES_SEED)
    scenes = [_make_scene(index) for index in range(SCENES)]
    examples = encode_examples(pipeline, scenes, [make_caption(rng, s) for s in scenes], sprites)
    maps = np.stack([draw_map(scene, sprites, rng) for scene in scenes])
    edges = np.stack(
        [find_edges(blur_a_little(rng, render(scene, sprites)))[..., 0] for scene in scenes]
    )
    return {
        "latents": examples.latents.half(),
        "embeddings": examples.embeddings.half(),
        "layout": torch.from_numpy(maps),
        "edges": torch.from_numpy(edges),
    }


class ControlStage:
    """Train the ControlNet of maps."""

    name = "controlnet_layout"
    control = "layout"
    metadata: ClassVar = {
        "modelspec.title": "Layout for the embedded model",
        "modelspec.description": "Control image: objects in white on black.",
        "modelspec.architecture": "tiny-emoji-128/controlnet",
    }
    seed = 11
    # The outputs are larger by this factor in the exported network, chosen on other scenes.
    scale = 1.0
    muon_lr, adamw_lr, weight_decay, ema_decay = 2e-3, 1e-3, 0.01, 0.998
    batch = 16
    # Below 1, more timesteps have a high noise level, at which the layout is decided.
    timestep_power = 0.7

    def __init__(self, folder: Path) -> None:
        """Load the model and the scenes."""
        self.examples = prepare_examples(folder)
        unet = UNet2DConditionModel.from_pretrained(MODEL, subfolder="unet", dtype=torch.float32)
        self.unet = unet.requires_grad_(False).to(memory_format=torch.channels_last)
        self.net = build_controlnet(unet).to(memory_format=torch.channels_last)
        # The backward pass of the fused processor is slow in bfloat16.
        self.unet.set_attn_processor(AttnProcessor())
        self.net.set_attn_processor(AttnProcessor())
        self.modules: dict[str, nn.Module] = {"controlnet": self.net}
        alphas = build_scheduler().alphas_cumprod
        self.signal, self.noise = alphas.sqrt(), (1 - alphas).sqrt()

    def loss(
        self, random: StepRandom, progress: float, rank: int
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the mean square error of v on a batch that covers all noise levels."""
        chosen = torch.from_numpy(random.numpy.integers(SCENES, size=self.batch))
        clean, words = (self.examples[name][chosen].float() for name in ("latents", "embeddings"))
        image = self.examples[self.control][chosen, None].float().div(255).expand(-1, 3, -1, -1)
        noise = random.normal(*clean.shape)
        positions = (np.arange(self.batch) + random.numpy.random(self.batch)) / self.batch
        timesteps = torch.from_numpy((positions**self.timestep_power * 1000).astype(np.int64))
        signal, sigma = (
            table[timesteps][:, None, None, None] for table in (self.signal, self.noise)
        )
        noisy = (signal * clean + sigma * noise).contiguous(memory_format=torch.channels_last)
        target = signal * noise - sigma * clean
        with half_precision():
            down, middle = self.net(noisy, timesteps, words, image, return_dict=False)
            predicted = self.unet(
                noisy,
                timesteps,
                words,
                down_block_additional_residuals=down,
                mid_block_additional_residual=middle,
            ).sample.float()
        error = (predicted - target).square().mean((1, 2, 3))
        halves = error.detach().view(2, -1).mean(1).tolist()
        return error.mean(), dict(zip(("low", "high"), halves, strict=True))


class EdgesStage(ControlStage):
    """Train the ControlNet of edges."""

    name = "controlnet_edges"
    control = "edges"
    metadata: ClassVar = {
        "modelspec.title": "Edges for the embedded model",
        "modelspec.description": "Control image: edges as Canny's method finds them.",
        "modelspec.architecture": "tiny-emoji-128/controlnet",
    }
    seed = 12
    scale = 1.4
    timestep_power = 0.85


def load_weights(folder: Path, name: str) -> Mapping[str, Any]:
    """Return the weights of a stage that is trained."""
    weights: Mapping[str, Any] = torch.load(result_file(folder, name), weights_only=True)
    return dict(weights["controlnet"])


def train_controlnet(stage: type[ControlStage], folder: Path, seconds: float) -> Path:
    """Train or resume a stage, write its ControlNet to ``folder`` and return its folder."""
    train(stage.name, stage, folder, seconds=seconds, seed=stage.seed, workers=1)
    target = folder / "model-controlnets" / stage.control
    export_controlnet(folder, stage, target)
    return target


def export_controlnet(folder: Path, stage: type[ControlStage], target: Path) -> None:
    """Write the trained ControlNet of a stage as Diffusers has it, in half precision."""
    unet = UNet2DConditionModel.from_pretrained(MODEL, subfolder="unet", dtype=torch.float32)
    net = build_controlnet(unet)
    net.load_state_dict(load_weights(folder, stage.name))
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.startswith(("controlnet_down_blocks", "controlnet_mid_block")):
                parameter.mul_(stage.scale)
    shutil.rmtree(target, ignore_errors=True)
    net.half().save_pretrained(target)
    weights = target / SAFETENSORS_WEIGHTS_NAME
    save_file(load_file(weights), weights, {"format": "pt", **stage.metadata})
