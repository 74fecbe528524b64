"""Write and read files of latents."""
