"""Explain how an image came about, with numbers measured in its own run."""
