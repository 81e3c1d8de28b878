"""One running node: a replica with clocks, a journal of its events, and everything that the shells call."""
