"""Declared configuration: backends, frontends and operators' states in a TOML file.

`document` has the values, `parser` reads them from TOML, and `writer` writes them as TOML. `config_diff` compares them
with a registry, `preflight` finds changes that nodes would refuse, and `apply` makes the changes. Only `apply` sends
requests to nodes; the other modules are pure.
"""
