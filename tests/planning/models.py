"""A model to plan with, without files."""

from __future__ import annotations

from sdcli.checkpoints.model_defaults import ModelDefaults

DEFAULTS = ModelDefaults(
    family="Stable Diffusion 1",
    num_inference_steps=50,
    guidance_scale=7.5,
    width=512,
    height=512,
    scheduler=None,
    scheduler_class="PNDMScheduler",
    prediction_type="epsilon",
    latent_channels=4,
    vae_scale_factor=8,
    text_encoder_layers=12,
)
