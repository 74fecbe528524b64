"""Files on disk: images, metadata, latents and job journals."""
