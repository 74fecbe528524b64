"""Fine-tune the VAE's decoder on latents that the UNet has generated.

The encoder's latents are exact, those of the UNet are not. The decoder is trained alone, so that
the latents stay the same; half of its input was noised and denoised again by the trained UNet.
Where this blurs an object, the decoder learns to restore it.
"""

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from sdcli.training.autoencoder import DECODER, load_kl, psnr, reconstruction_loss, to_tensor
from sdcli.training.captions import make_caption
from sdcli.training.diffusion import build_scheduler, build_unet, embed
from sdcli.training.loop import StepRandom, half_precision, result_file
from sdcli.training.scenes import Scene, render, sample_for_training
from sdcli.training.sprites import load_sprites
from sdcli.training.text_encoder import SHORT, CaptionTokenizer, build_text_encoder

STEPS = 4


class LatentRefiner:
    """Add noise to latents and denoise them with the trained UNet."""

    guidance = 3.0

    def __init__(self, folder: Path) -> None:
        """Load the trained UNet and text encoder."""
        trained = torch.load(result_file(folder, "diffusion"), weights_only=True)
        self.tokenize = CaptionTokenizer(folder)
        self.encoder, self.unet = build_text_encoder(folder), build_unet()
        self.encoder.load_state_dict(trained["text_encoder"])
        self.unet.load_state_dict(trained["unet"])
        self.unet.to(memory_format=torch.channels_last)
        self.alphas = build_scheduler().alphas_cumprod

    @torch.no_grad()
    def __call__(self, random: StepRandom, clean: Tensor, texts: list[str]) -> Tensor:
        """Return (batch, 4, 16, 16) latents as the UNet generates them, with the same composition.

        They are noised up to a random timestep and denoised in a few steps of DDIM (Song et al.,
        2021).
        """
        embeddings = embed(self.encoder, self.tokenize([*texts, *[""] * len(texts)], SHORT))
        # Early enough to leave the UNet some work, late enough to keep the objects in place.
        start = int(random.numpy.integers(200, 700))
        timesteps = [start - start * i // STEPS for i in range(STEPS + 1)]
        alpha = self.alphas[start]
        x: Tensor = alpha.sqrt() * clean + (1 - alpha).sqrt() * random.normal(*clean.shape)
        x0 = x
        for timestep, next_timestep in pairwise(timesteps):
            signal, sigma = self.alphas[timestep].sqrt(), (1 - self.alphas[timestep]).sqrt()
            doubled = torch.cat([x, x]).contiguous(memory_format=torch.channels_last)
            with half_precision():
                output = self.unet(doubled, timestep, embeddings).sample.float()
            conditional, unconditional = output.chunk(2)
            v = unconditional + self.guidance * (conditional - unconditional)
            noise, x0 = signal * v + sigma * x, signal * x - sigma * v
            alpha = self.alphas[next_timestep]
            x = alpha.sqrt() * x0 + (1 - alpha).sqrt() * noise
        return x0


class DecoderStage:
    """Train the decoder alone, on exact and on refined latents."""

    name = DECODER
    muon_lr, adamw_lr, weight_decay, ema_decay = 2e-3, 1e-3, 0.0, 0.995
    batch = 2  # images of each kind
    # Noise on the exact latents, so that the decoder does not rely on their last digits.
    noise = 0.04

    def __init__(self, folder: Path) -> None:
        """Load the trained VAE, whose encoder is not trained further."""
        self.sprites = load_sprites(folder)
        self.refine = LatentRefiner(folder)
        self.vae = load_kl(folder)
        self.vae.decoder.requires_grad_(True)
        self.vae.post_quant_conv.requires_grad_(True)
        self.modules: dict[str, nn.Module] = {
            "decoder": self.vae.decoder,
            "post_quant_conv": self.vae.post_quant_conv,
        }

    def loss(
        self, random: StepRandom, progress: float, rank: int
    ) -> tuple[Tensor, dict[str, float]]:
        """Decode a batch, half of it from refined latents."""
        scenes = [sample_for_training(random.numpy) for _ in range(2 * self.batch)]
        x = to_tensor([render(scene, self.sprites) for scene in scenes])
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            z = self.vae.encode(x).latent_dist.mean
        texts = [_nonempty_caption(random, scene) for scene in scenes[self.batch :]]
        refined = self.refine(random, z[self.batch :], texts)
        exact = z[: self.batch] + self.noise * random.normal(*refined.shape)
        with half_precision():
            output = self.vae.decode(torch.cat([exact, refined])).sample.float()
        quality = psnr(output.detach(), x).view(2, -1).mean(1).tolist()
        figures = dict(zip(("exact", "refined"), quality, strict=True))
        return reconstruction_loss(output, x), figures


def _nonempty_caption(random: StepRandom, scene: Scene) -> str:
    while not (text := make_caption(random.numpy, scene)):
        pass
    return text
