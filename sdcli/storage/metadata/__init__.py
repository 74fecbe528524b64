"""Records embedded in images."""
