"""A storm of random well-formed messages from a hostile peer against three nodes, and what must hold all the while.

`python -m tests.hostile --messages 200000 --seed 1` prints figures and whatever is broken. Nodes, exchange, sweep and
streams are the real ones, on a clock that is moved by hand; between them goes nothing but bytes.
"""
