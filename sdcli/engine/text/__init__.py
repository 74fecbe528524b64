"""Encode prompts."""
