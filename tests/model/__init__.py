"""All schedules of a few steps at three nodes that run the real core, up to a depth; see `__main__`."""
