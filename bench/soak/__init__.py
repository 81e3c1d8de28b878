"""Measures whether a node needs more and more resources under constant load: `python -m bench.soak`."""
