"""Encode prompts with the text encoder."""
