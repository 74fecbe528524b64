"""The VAEs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sdcli.training.autoencoder import (
    build_kl,
    build_tiny,
    psnr,
    random_crops,
    reconstruction_loss,
    to_tensor,
    whiten,
)


def test_whitening_changes_the_latents_but_not_the_image() -> None:
    torch.manual_seed(0)
    vae = build_kl().eval().requires_grad_(False)
    x = torch.rand(4, 3, 64, 64) * 2 - 1
    before = vae.decode(vae.encode(x).latent_dist.mean).sample
    spread = vae.encode(x).latent_dist
    relative = spread.std / spread.mean.std((0, 2, 3))[:, None, None]
    whiten(vae, x)
    posterior = vae.encode(x).latent_dist
    assert torch.allclose(posterior.mean.mean((0, 2, 3)), torch.zeros(4), atol=1e-4)
    assert torch.allclose(posterior.mean.std((0, 2, 3)), torch.ones(4), atol=1e-4)
    assert torch.allclose(posterior.std, relative, rtol=1e-3)
    assert torch.allclose(vae.decode(posterior.mean).sample, before, atol=1e-4)


def test_psnr_of_a_known_error() -> None:
    flat = torch.zeros(1, 3, 8, 8)
    assert psnr(flat + 0.2, flat).item() == pytest.approx(20.0, abs=1e-3)


def test_the_vaes_have_the_same_latents() -> None:
    with torch.no_grad():
        z = build_kl().encode(torch.zeros(1, 3, 128, 128)).latent_dist.mean
        assert z.shape == (1, 4, 16, 16)
        assert build_tiny().decode(z).sample.shape == (1, 3, 128, 128)


def test_images_become_tensors_in_minus_one_to_one() -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    image[..., 0] = 255
    x = to_tensor([image])
    assert x.shape == (1, 3, 4, 6)
    assert x[0, :, 0, 0].tolist() == [1, -1, -1]


def test_crops_are_parts_of_the_images() -> None:
    x = torch.arange(2 * 3 * 20 * 20).float().view(2, 3, 20, 20)
    crops = random_crops(np.random.default_rng(0), x, size=8)
    assert crops.shape == (2, 3, 8, 8)
    assert (crops[..., 1:] - crops[..., :-1] == 1).all()


def test_the_reconstruction_loss_is_zero_for_equal_images() -> None:
    x = torch.rand(2, 3, 16, 16)
    assert reconstruction_loss(x, x) == 0
    assert reconstruction_loss(x, x + 0.1) > 0
