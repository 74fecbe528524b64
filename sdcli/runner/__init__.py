"""Run jobs: the loop, the writer, results and interrupts."""
