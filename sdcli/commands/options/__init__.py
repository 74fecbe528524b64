"""Command-line options, each declared once."""
