"""A storm of random well-formed messages from a hostile peer against three nodes, and checks of the promises.

`python -m tests.hostile --messages 200000 --seed 1` prints figures and every broken promise. Nodes, exchange, sweep and
streams are the real ones, on a clock that the storm moves; they exchange bytes only.
"""
