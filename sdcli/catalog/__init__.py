"""Tables of the names that users can type: schedulers, noise schedules and VAEs."""
