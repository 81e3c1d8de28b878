"""Simulations of whole clusters: real replicas in one thread, on virtual time, from one seed, watched by an oracle.

`python -m tests.simulation --seeds 1000` runs seeds. `--mutations` shows which check notices which broken rule.
"""
