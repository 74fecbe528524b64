"""The denoising loop: Diffusers' pipeline call, with recording and resuming around it."""
