"""Observe a pipeline while it runs, without changing its results."""
