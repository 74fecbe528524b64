"""Image and latent arithmetic on NumPy arrays."""
