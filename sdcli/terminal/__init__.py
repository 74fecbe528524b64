"""Print everything that goes to stdout and stderr."""
