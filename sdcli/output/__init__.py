"""Results in, bytes out: the only room that writes files and talks to the terminal. No model."""
