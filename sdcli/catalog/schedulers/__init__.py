"""Scheduler names that users type, and what each stands for in Diffusers."""
