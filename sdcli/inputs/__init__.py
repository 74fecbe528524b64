"""Open and decode what comes from outside: paths, files and text."""
