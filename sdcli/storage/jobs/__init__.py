"""The journal of a batch folder, and the leases that share its jobs among processes."""
