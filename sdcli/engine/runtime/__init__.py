"""Manage devices, memory, imports and profiling, and isolate the internals of Diffusers."""
