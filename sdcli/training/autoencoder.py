"""Define and train the VAEs: an AutoencoderKL, and an AutoencoderTiny for the same latents.

Latent diffusion (Rombach et al., 2022) denoises the latents of an autoencoder instead of pixels.
Here one latent value stands for 48 values of the image. A weak Gaussian prior (the KL term) keeps
the latents smooth.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (PyTorch's convention)
from diffusers import AutoencoderKL, AutoencoderTiny
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from numpy.typing import NDArray
from torch import Tensor, nn

from sdcli.training.loop import StepRandom, half_precision, result_file
from sdcli.training.scenes import CELL, Placement, Scene, render, sample_for_training
from sdcli.training.sprites import Sprites, load_sprites

DECODER = "vae_decoder"
"""Name of the stage that continues with the decoder, in `decoder_finetune`."""

OFF_GRID_SHARE = 0.25
"""Share of images off the grid and at any size, so that the VAE also encodes other images well."""


def build_kl() -> AutoencoderKL:
    """Build the VAE: images (batch, 3, 128, 128) in -1 to 1, latents (batch, 4, 16, 16)."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        block_out_channels=(16, 24, 48, 96),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        # Groups of two channels at full size would wash out flat colors.
        norm_num_groups=1,
        sample_size=128,
        scaling_factor=1.0,
    )


def build_tiny() -> AutoencoderTiny:
    """Build the small VAE. AutoencoderTiny requires the same width at all levels."""
    return AutoencoderTiny(
        in_channels=3,
        out_channels=3,
        encoder_block_out_channels=(32, 32, 32, 32),
        decoder_block_out_channels=(32, 32, 32, 32),
        num_encoder_blocks=(1, 1, 1, 1),
        num_decoder_blocks=(2, 2, 2, 1),
        latent_channels=4,
        scaling_factor=1.0,
    )


def to_tensor(images: list[NDArray[np.uint8]]) -> Tensor:
    """Convert uint8 images (height, width, 3) to (batch, 3, height, width) in -1 to 1."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def _move_off_grid(scene: Scene, rng: np.random.Generator) -> Scene:
    def move(box: Placement) -> Placement:
        size = max(24, box.size - int(rng.integers(0, 12)))
        left, top = (
            int(v) for v in np.array([box.left, box.top]) + rng.integers(-CELL, CELL + 1, 2)
        )
        return Placement(
            concept=box.concept,
            size=size,
            left=min(max(left, 0), 128 - size),
            top=min(max(top, 0), 128 - size),
        )

    return replace(scene, placements=tuple(move(box) for box in scene.placements))


def training_images(rng: np.random.Generator, sprites: Sprites, count: int) -> Tensor:
    """Return a batch of random training images, (count, 3, 128, 128) in -1 to 1."""
    scenes = [sample_for_training(rng) for _ in range(count)]
    scenes = [
        _move_off_grid(scene, rng) if rng.random() < OFF_GRID_SHARE else scene for scene in scenes
    ]
    return to_tensor([render(scene, sprites) for scene in scenes]).contiguous(
        memory_format=torch.channels_last
    )


def random_crops(rng: np.random.Generator, x: Tensor, size: int = 64) -> Tensor:
    """Return one random square of each image, (batch, 3, size, size)."""
    corners = rng.integers(0, x.shape[-1] - size + 1, (len(x), 2))
    squares = [
        image[:, top : top + size, left : left + size]
        for image, (top, left) in zip(x, corners, strict=True)
    ]
    return torch.stack(squares).contiguous(memory_format=torch.channels_last)


def _gradients(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the differences of neighboring pixels, vertical and horizontal."""
    return x[..., 1:, :] - x[..., :-1, :], x[..., 1:] - x[..., :-1]


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """Return the sum of L1 error, MSE (for flat areas) and L1 error of gradients (for edges)."""
    loss = F.l1_loss(output, target) + 2 * F.mse_loss(output, target)
    for scale in (1, 2):
        scaled, expected = (F.avg_pool2d(x, scale) if scale > 1 else x for x in (output, target))
        for a, b in zip(_gradients(scaled), _gradients(expected), strict=True):
            loss = loss + 0.25 * F.l1_loss(a, b)
    return loss


def psnr(output: Tensor, target: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio in dB of each image, for values in -1 to 1."""
    error = (output.clamp(-1, 1) - target).square().flatten(1).mean(1)
    return 10 * torch.log10(4 / error)


class KlStage:
    """Train the AutoencoderKL."""

    name = "vae"
    muon_lr, adamw_lr, weight_decay, ema_decay = 4e-3, 2e-3, 0.0, 0.995
    # Small crops first, because they are cheap; complete images have other statistics.
    crops_until = 0.62
    kl_weight = 4e-4

    def __init__(self, folder: Path) -> None:
        """Render the sprites and build the VAE."""
        self.sprites = load_sprites(folder)
        self.vae = build_kl().to(memory_format=torch.channels_last)
        self.modules: dict[str, nn.Module] = {"vae": self.vae}

    def loss(
        self, random: StepRandom, progress: float, rank: int
    ) -> tuple[Tensor, dict[str, float]]:
        """Reconstruct a batch from sampled latents."""
        if progress < self.crops_until:
            x = random_crops(random.numpy, training_images(random.numpy, self.sprites, 8))
        else:
            x = training_images(random.numpy, self.sprites, 2)
        with half_precision():
            posterior = self.vae.encode(x).latent_dist
        # The KL term loses too many digits in half precision.
        posterior = DiagonalGaussianDistribution(posterior.parameters.float())
        with half_precision():
            noise = random.normal(*posterior.mean.shape)
            output = self.vae.decode(posterior.mean + posterior.std * noise).sample.float()
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        loss = reconstruction_loss(output, x) + self.kl_weight * min(1.0, 10 * progress) * kl
        return loss, {"kl": kl.item(), "psnr": psnr(output.detach(), x).mean().item()}


@torch.no_grad()
def whiten(vae: AutoencoderKL, sample: Tensor) -> None:
    """Normalize the latents to mean 0 and standard deviation 1 for each channel.

    The statistics of ``sample`` are folded into the 1 x 1 convolutions on both sides of the
    latents. Decoded images do not change, and ``scaling_factor`` can be 1.
    """
    z = torch.cat([vae.encode(batch).latent_dist.mean for batch in torch.split(sample, 16)])
    mean, deviation = z.mean((0, 2, 3)), z.std((0, 2, 3))
    encoder_conv, decoder_conv = vae.quant_conv, vae.post_quant_conv
    encoder_conv.weight[:4] /= deviation[:, None, None, None]
    encoder_conv.bias[:4] = (encoder_conv.bias[:4] - mean) / deviation
    # The last four channels are the logarithm of the variance.
    encoder_conv.bias[4:] -= 2 * deviation.log()
    decoder_conv.bias += decoder_conv.weight[:, :, 0, 0] @ mean
    decoder_conv.weight *= deviation[None, :, None, None]


def load_kl(folder: Path) -> AutoencoderKL:
    """Load the trained VAE with normalized latents, and the fine-tuned decoder if it exists."""
    vae = build_kl()
    vae.load_state_dict(torch.load(result_file(folder, "vae"), weights_only=True)["vae"])
    vae.eval().requires_grad_(False)
    whiten(vae, training_images(np.random.default_rng(77), load_sprites(folder), 256))
    decoder_file = result_file(folder, DECODER)
    if decoder_file.exists():
        state = torch.load(decoder_file, weights_only=True)
        vae.decoder.load_state_dict(state["decoder"])
        vae.post_quant_conv.load_state_dict(state["post_quant_conv"])
    return vae.to(memory_format=torch.channels_last)


class TinyStage:
    """Train the AutoencoderTiny to decode the AutoencoderKL's latents and to encode into them."""

    name = "vae_tiny"
    muon_lr, adamw_lr, weight_decay, ema_decay = 3e-3, 1.5e-3, 0.0, 0.995
    batch = 4

    def __init__(self, folder: Path) -> None:
        """Load the AutoencoderKL, which is not trained further."""
        self.sprites = load_sprites(folder)
        self.teacher = load_kl(folder)
        self.tiny = build_tiny().to(memory_format=torch.channels_last)
        self.modules: dict[str, nn.Module] = {"vae_tiny": self.tiny}

    def loss(
        self, random: StepRandom, progress: float, rank: int
    ) -> tuple[Tensor, dict[str, float]]:
        """Decode the teacher's latents to the image, and encode the image to them."""
        x = training_images(random.numpy, self.sprites, self.batch)
        with torch.no_grad():
            z = self.teacher.encode(x).latent_dist.mean
        with half_precision():
            # A little noise, because the UNet's latents are not exact.
            output = self.tiny.decode(z + 0.03 * random.normal(*z.shape)).sample.float()
            encoded = self.tiny.encode(x).latents.float()
        latents = F.l1_loss(encoded, z)
        loss = reconstruction_loss(output, x) + 0.5 * latents
        return loss, {"latents": latents.item(), "psnr": psnr(output.detach(), x).mean().item()}


def load_tiny(folder: Path) -> AutoencoderTiny:
    """Load the trained AutoencoderTiny."""
    tiny = build_tiny()
    tiny.load_state_dict(torch.load(result_file(folder, "vae_tiny"), weights_only=True)["vae_tiny"])
    return tiny.eval().requires_grad_(False)
