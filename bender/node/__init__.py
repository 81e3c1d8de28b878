"""One running node: a replica with clocks, a journal of its events, and all that the shells around it call."""
