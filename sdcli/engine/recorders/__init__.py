"""Record what happens during a run without changing it."""
