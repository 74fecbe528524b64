"""Change a loaded model for a run, and restore it."""
