"""Everything that runs: namespaces, nodes, relay, nemesis, clients, programs, watchers and the watchdog."""
