"""Everything printed to stdout and stderr."""
