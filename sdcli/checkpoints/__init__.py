"""Model files: locating, downloading, checking and describing them without importing torch."""
