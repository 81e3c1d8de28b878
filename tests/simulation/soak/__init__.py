"""A day of virtual time for whole nodes, in which nothing may grow: `python -m tests.simulation --hours 24`.

The nodes are those of `bender.node.node` with their shells for clients, so a process has everything that a real node
keeps: its replica, journal, consumers, lists, limits, timers, connections and unread parts of requests. `world` runs
the nodes on the simulator's virtual time and network. `clients` has their clients, `sizes` measures every structure,
and `growth` reports the structures that grow. No oracle watches, because its history of a day would be the largest
structure.
"""
