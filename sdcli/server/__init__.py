"""The warm worker: a background process that keeps the libraries and the last models loaded."""
