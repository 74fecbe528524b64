"""Load pipelines, VAEs and single components from verified files."""
