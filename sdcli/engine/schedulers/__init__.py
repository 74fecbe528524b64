"""Build Diffusers schedulers, describe them, and compute with their noise levels."""
