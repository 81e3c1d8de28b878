"""Protocols of other programs: each module serves one of them, and can be switched off.

A protocol sees only the views, events and commands of a node, and no other protocol. Where it is switched off, none of
its routes exists, and nothing of it runs.
"""
