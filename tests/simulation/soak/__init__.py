"""A day of virtual time for whole nodes, in which nothing may grow: `python -m tests.simulation --hours 24`.

The nodes are those of `bender.node.node` with their shells for clients, so that all that a node keeps is there: its
replica, journal, consumers, lists, limits, timers, connections and what was read of requests. `world` runs them on the
simulator's virtual time and network, `clients` are what happens to them, `sizes` measures every structure, and `growth`
says which of them grow. No oracle watches: its history of a day would be the largest structure of all.
"""
