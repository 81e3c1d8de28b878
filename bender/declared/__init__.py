"""Declared configuration: backends, frontends and operators' states in a TOML file.

`document` has the values, `parser` and `writer` turn them from and into TOML, `diff` compares them with a registry,
`preflight` finds changes that nodes would refuse, and `apply` makes the changes. Only `apply` talks with nodes; all
else is pure.
"""
