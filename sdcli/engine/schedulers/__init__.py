"""Build Diffusers schedulers and compute with their noise levels."""
