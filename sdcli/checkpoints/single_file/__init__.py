"""Recognise checkpoints that are a single file, and map their tensors to Diffusers' components."""
