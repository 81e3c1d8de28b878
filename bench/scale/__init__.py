"""Simulated clusters of 5, 20 and 100 nodes: their costs, and the time until they agree. See `__main__`."""
