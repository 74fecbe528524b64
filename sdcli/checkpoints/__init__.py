"""What model files contain, read without importing torch."""
