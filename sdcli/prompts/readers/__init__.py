"""Readers of prompt files, one module a format."""
