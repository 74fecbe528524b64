"""Devices, memory, imports and profiling."""
