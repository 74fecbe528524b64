"""Run Diffusers' denoising loop, with recording and resuming around it."""
