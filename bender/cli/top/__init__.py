"""`bender top`: the registry live in a terminal.

`live_registry` and `link` hold the state, from events and from the status of nodes; `controls` the state of the view,
which keys change; `views`, `header` and `frame` turn them into lines. All of these are pure. `terminal` owns the
terminal, and `live` connects it to a client. `snapshot` prints the same once.
"""
