"""Encode images to latents and decode latents to images."""
