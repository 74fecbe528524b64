"""Describe the fields of requests and jobs, a module for each feature."""
