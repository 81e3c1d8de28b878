"""Whole clusters of real replicas in one thread, on virtual time, from one seed; and an oracle that sees everything.

`python -m tests.simulation --seeds 1000` runs seeds, `--mutations` shows which check catches which broken rule.
"""
