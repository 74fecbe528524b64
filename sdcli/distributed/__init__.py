"""Make the jobs of one run in several processes: workers of this machine, or actors of Ray."""
