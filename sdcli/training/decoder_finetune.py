"""A second lesson for the VAE's decoder: the latents that it will really be given.

The encoder's latents are perfect; the UNet's are not. So the decoder goes on alone, no latent
changes for it, and half of what it must decode was noised and denoised again by the finished UNet.
Where that smears, the decoder learns what must have been meant.
"""

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from sdcli.training.autoencoder import DECODER, load_kl, psnr, reconstruction_loss, to_tensor
from sdcli.training.captions import caption
from sdcli.training.diffusion import embed, make_scheduler, make_unet
from sdcli.training.loop import StepRandom, half_precision, result
from sdcli.training.scenes import Scene, render, sample_for_training
from sdcli.training.sprites import load_sprites
from sdcli.training.text_encoder import SHORT, Ids, make_text_encoder

STEPS = 4


class LatentRefiner:
    """The trained UNet, which takes latents half-way into noise and back."""

    guidance = 3.0

    def __init__(self, folder: Path) -> None:
        """Load the finished UNet and text encoder."""
        trained = torch.load(result(folder, "diffusion"), weights_only=True)
        self.ids = Ids(folder)
        self.encoder, self.unet = make_text_encoder(folder), make_unet()
        self.encoder.load_state_dict(trained["text_encoder"])
        self.unet.load_state_dict(trained["unet"])
        self.unet.to(memory_format=torch.channels_last)
        self.alphas = make_scheduler().alphas_cumprod

    @torch.no_grad()
    def __call__(self, draw: StepRandom, clean: Tensor, texts: list[str]) -> Tensor:
        """(batch, 4, 16, 16) latents as the UNet would draw them, things staying where they are.

        Noised up to a random time, and denoised in a few steps of DDIM (Song et al., 2021).
        """
        words = embed(self.encoder, self.ids([*texts, *[""] * len(texts)], SHORT))
        start = int(draw.numpy.integers(200, 700))
        times = [start - start * i // STEPS for i in range(STEPS + 1)]
        alpha = self.alphas[start]
        x: Tensor = alpha.sqrt() * clean + (1 - alpha).sqrt() * draw.normal(*clean.shape)
        x0 = x
        for time, after in pairwise(times):
            signal, sigma = self.alphas[time].sqrt(), (1 - self.alphas[time]).sqrt()
            twice = torch.cat([x, x]).contiguous(memory_format=torch.channels_last)
            with half_precision():
                told, untold = self.unet(twice, time, words).sample.float().chunk(2)
            v = untold + self.guidance * (told - untold)
            noise, x0 = signal * v + sigma * x, signal * x - sigma * v
            x = self.alphas[after].sqrt() * x0 + (1 - self.alphas[after]).sqrt() * noise
        return x0


class DecoderStage:
    """Goes on with the decoder alone, on perfect and on redrawn latents."""

    name = DECODER
    muon_lr, adamw_lr, weight_decay, ema_decay = 2e-3, 1e-3, 0.0, 0.995
    batch = 2  # of each kind
    noise = 0.04  # for the perfect ones: a decoder must not rely on the last digit

    def __init__(self, folder: Path) -> None:
        """Load the trained VAE; its encoder stays as it is."""
        self.sprites = load_sprites(folder)
        self.redraw = LatentRefiner(folder)
        self.vae = load_kl(folder)
        self.vae.decoder.requires_grad_(True)
        self.vae.post_quant_conv.requires_grad_(True)
        self.modules: dict[str, nn.Module] = {
            "decoder": self.vae.decoder,
            "post_quant_conv": self.vae.post_quant_conv,
        }

    def loss(self, draw: StepRandom, progress: float, rank: int) -> tuple[Tensor, dict[str, float]]:
        """Decode a batch, half of it redrawn."""
        scenes = [sample_for_training(draw.numpy) for _ in range(2 * self.batch)]
        x = to_tensor([render(scene, self.sprites) for scene in scenes])
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            z = self.vae.encode(x).latent_dist.mean
        told = [_told(draw, scene) for scene in scenes[self.batch :]]
        redrawn = self.redraw(draw, z[self.batch :], told)
        perfect = z[: self.batch] + self.noise * draw.normal(*redrawn.shape)
        with half_precision():
            output = self.vae.decode(torch.cat([perfect, redrawn])).sample.float()
        quality = psnr(output.detach(), x).view(2, -1).mean(1).tolist()
        figures = dict(zip(("perfect", "redrawn"), quality, strict=True))
        return reconstruction_loss(output, x), figures


def _told(draw: StepRandom, scene: Scene) -> str:
    """A caption that says something."""
    while not (text := caption(draw.numpy, scene)):
        pass
    return text
