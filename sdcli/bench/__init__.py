"""Benchmarks of sdcli's commands against plain Diffusers scripts, each run in a new process."""
