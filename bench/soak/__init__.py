"""Whether a node grows when nothing but time goes by: `python -m bench.soak`."""
