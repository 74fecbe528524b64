"""Scheduler names, the Diffusers classes that they stand for, and the options of those classes."""
