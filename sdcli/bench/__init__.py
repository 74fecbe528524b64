"""Measuring: sdcli's commands beside what a user would otherwise run, in processes of their own."""
