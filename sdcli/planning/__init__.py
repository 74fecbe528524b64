"""Resolve requests to jobs, validate them, and group the jobs into batches."""
