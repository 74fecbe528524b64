"""Pictures ⇄ latents: the AutoencoderKL, and the smaller AutoencoderTiny of the same latents.

Latent diffusion (Rombach et al., 2022) denoises not pixels but the code of an autoencoder, 48
numbers of a picture to one of the code here. A faint Gaussian prior (the KL term) keeps the code
smooth.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)
from diffusers import AutoencoderKL, AutoencoderTiny
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from numpy.typing import NDArray
from torch import Tensor, nn

from sdcli.training.loop import StepRandom, half_precision, result
from sdcli.training.scenes import CELL, Placement, Scene, render, sample_for_training
from sdcli.training.sprites import Sprites, load_sprites

DECODER = "vae_decoder"  # the stage that goes on with the decoder, in ``decoder``
LOOSE = 0.25  # share of pictures off the grid and at any size: other pictures have no grid


def make_kl() -> AutoencoderKL:
    """The VAE: (batch, 3, 128, 128) in −1…1 ⇄ (batch, 4, 16, 16)."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        block_out_channels=(16, 24, 48, 96),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=1,  # two channels a group at full size would wash flat colours out
        sample_size=128,
        scaling_factor=1.0,
    )


def make_tiny() -> AutoencoderTiny:
    """The small one; its stages must all have the same width."""
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


def to_tensor(pictures: list[NDArray[np.uint8]]) -> Tensor:
    """Levels (height, width, 3) → (batch, 3, height, width) in −1…1."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def _loosen(scene: Scene, rng: np.random.Generator) -> Scene:
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

    placements = tuple(move(box) for box in scene.placements)
    return Scene(
        placements=placements,
        layout=scene.layout,
        background=scene.background,
        flipped=scene.flipped,
        shade=scene.shade,
    )


def pictures(rng: np.random.Generator, sprites: Sprites, count: int) -> Tensor:
    """A batch of training pictures, (count, 3, 128, 128) in −1…1."""
    scenes = [sample_for_training(rng) for _ in range(count)]
    scenes = [_loosen(scene, rng) if rng.random() < LOOSE else scene for scene in scenes]
    return to_tensor([render(scene, sprites) for scene in scenes]).contiguous(
        memory_format=torch.channels_last
    )


def crops(rng: np.random.Generator, x: Tensor, size: int = 64) -> Tensor:
    """One random square of each picture, (batch, 3, size, size)."""
    corners = rng.integers(0, x.shape[-1] - size + 1, (len(x), 2))
    parts = [p[:, a : a + size, b : b + size] for p, (a, b) in zip(x, corners, strict=True)]
    return torch.stack(parts).contiguous(memory_format=torch.channels_last)


def _edges(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., 1:, :] - x[..., :-1, :], x[..., 1:] - x[..., :-1]


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """L1, differences of neighbours at two scales (edges), and squares (flat colours)."""
    loss = F.l1_loss(output, target) + 2 * F.mse_loss(output, target)
    for scale in (1, 2):
        small, wanted = (F.avg_pool2d(x, scale) if scale > 1 else x for x in (output, target))
        for a, b in zip(_edges(small), _edges(wanted), strict=True):
            loss = loss + 0.25 * F.l1_loss(a, b)
    return loss


def psnr(output: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each picture in −1…1."""
    error = (output.clamp(-1, 1) - target).square().flatten(1).mean(1)
    return 10 * torch.log10(4 / error)


class KlStage:
    """Trains the AutoencoderKL."""

    name = "vae"
    muon_lr, adamw_lr, weight_decay, ema_decay = 4e-3, 2e-3, 0.0, 0.995
    crops_until = (
        0.62  # many small crops first, whole pictures (of their own statistics) to the end
    )
    kl_weight = 4e-4

    def __init__(self, folder: Path) -> None:
        """Render the sprites and make the VAE."""
        self.sprites = load_sprites(folder)
        self.vae = make_kl().to(memory_format=torch.channels_last)
        self.modules: dict[str, nn.Module] = {"vae": self.vae}

    def loss(self, draw: StepRandom, progress: float, rank: int) -> tuple[Tensor, dict[str, float]]:
        """Reconstruct a batch through a sampled code."""
        if progress < self.crops_until:
            x = crops(draw.numpy, pictures(draw.numpy, self.sprites, 8))
        else:
            x = pictures(draw.numpy, self.sprites, 2)
        with half_precision():
            code = self.vae.encode(x).latent_dist
        code = DiagonalGaussianDistribution(code.parameters.float())
        with half_precision():
            noise = draw.normal(*code.mean.shape)
            output = self.vae.decode(code.mean + code.std * noise).sample.float()
        kl = code.kl().mean() / code.mean[0].numel()
        loss = reconstruction_loss(output, x) + self.kl_weight * min(1.0, 10 * progress) * kl
        return loss, {"kl": kl.item(), "psnr": psnr(output.detach(), x).mean().item()}


@torch.no_grad()
def whiten(vae: AutoencoderKL, sample: Tensor) -> None:
    """Fold each latent channel's mean and deviation over ``sample`` into the 1 × 1 convolutions.

    The code then has mean 0 and deviation 1, and ``scaling_factor`` is 1: pictures are the same.
    """
    z = torch.cat([vae.encode(part).latent_dist.mean for part in torch.split(sample, 16)])
    mean, deviation = z.mean((0, 2, 3)), z.std((0, 2, 3))
    into, out = vae.quant_conv, vae.post_quant_conv
    into.weight[:4] /= deviation[:, None, None, None]
    into.bias[:4] = (into.bias[:4] - mean) / deviation
    into.bias[4:] -= 2 * deviation.log()  # the second half is the logarithm of the variance
    out.bias += out.weight[:, :, 0, 0] @ mean
    out.weight *= deviation[None, :, None, None]


def load_kl(folder: Path) -> AutoencoderKL:
    """The trained VAE, whitened on a fixed sample, with the refined decoder once there is one."""
    vae = make_kl()
    vae.load_state_dict(torch.load(result(folder, "vae"), weights_only=True)["vae"])
    vae.eval().requires_grad_(False)
    whiten(vae, pictures(np.random.default_rng(77), load_sprites(folder), 256))
    refined = result(folder, DECODER)
    if refined.exists():
        state = torch.load(refined, weights_only=True)
        vae.decoder.load_state_dict(state["decoder"])
        vae.post_quant_conv.load_state_dict(state["post_quant_conv"])
    return vae.to(memory_format=torch.channels_last)


class TinyStage:
    """Trains the AutoencoderTiny to decode the big one's latents, and to encode into them."""

    name = "vae_tiny"
    muon_lr, adamw_lr, weight_decay, ema_decay = 3e-3, 1.5e-3, 0.0, 0.995
    batch = 4

    def __init__(self, folder: Path) -> None:
        """Load the big VAE, which stays as it is."""
        self.sprites = load_sprites(folder)
        self.teacher = load_kl(folder)
        self.tiny = make_tiny().to(memory_format=torch.channels_last)
        self.modules: dict[str, nn.Module] = {"vae_tiny": self.tiny}

    def loss(self, draw: StepRandom, progress: float, rank: int) -> tuple[Tensor, dict[str, float]]:
        """Decode the teacher's latents to the picture, and encode the picture to them."""
        x = pictures(draw.numpy, self.sprites, self.batch)
        with torch.no_grad():
            z = self.teacher.encode(x).latent_dist.mean
        with half_precision():
            output = self.tiny.decode(z + 0.03 * draw.normal(*z.shape)).sample.float()
            encoded = self.tiny.encode(x).latents.float()
        latents = F.l1_loss(encoded, z)
        loss = reconstruction_loss(output, x) + 0.5 * latents
        return loss, {"latents": latents.item(), "psnr": psnr(output.detach(), x).mean().item()}


def load_tiny(folder: Path) -> AutoencoderTiny:
    """The trained small autoencoder."""
    tiny = make_tiny()
    tiny.load_state_dict(torch.load(result(folder, "vae_tiny"), weights_only=True)["vae_tiny"])
    return tiny.eval().requires_grad_(False)
