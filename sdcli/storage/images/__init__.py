"""Write and read image files."""
