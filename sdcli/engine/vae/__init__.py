"""Decode and encode images with a VAE."""
