"""All running parts of a seed: namespaces, nodes, relay, nemesis, clients, programs, watchers and the watchdog."""
