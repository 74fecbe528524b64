"""Resolve requests to jobs, validate them, and group them into batches."""
