"""One verb, one file: options to request to run. Nothing heavy is imported before a verb runs."""
