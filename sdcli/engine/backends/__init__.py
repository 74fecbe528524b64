"""Run the networks of a pipeline with another library than torch."""
