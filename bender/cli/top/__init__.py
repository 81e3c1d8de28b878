"""`bender top`: show the registry live in a terminal.

`live_registry` and `link` have the state of the registry, from events and from the status of nodes. `controls` has the
state of the view, which keys change. `views`, `header` and `frame` turn both into lines. All these modules are pure.
`terminal` owns the terminal, and `live` connects it to a client. `snapshot` prints the state once.
"""
