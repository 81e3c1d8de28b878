"""Real nodes in network namespaces under a seeded nemesis, judged by the simulator's oracle.

`plan` draws what happens in a seed, `rig/` makes it happen and records it as `facts`, and `judge/` replays the facts
and reports every promise that was broken. `python -m tests.faults --help` runs seeds.
"""
