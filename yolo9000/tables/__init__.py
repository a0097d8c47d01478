"""The rows of a paper's table: planned, run, written down, reported."""
