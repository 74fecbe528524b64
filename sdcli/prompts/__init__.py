"""Read prompt files, options and wildcards into generation requests."""
