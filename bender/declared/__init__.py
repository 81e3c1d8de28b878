"""Declared configuration: backends, frontends and operators' states in a TOML file.

`document` has the values, `reading` and `writing` turn them from and into TOML, `comparison` compares them with a
registry, and `application` carries out what differs. Only the last one talks with nodes; all else is pure.
"""
