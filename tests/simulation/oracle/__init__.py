"""The oracle: it watches a whole cluster, and reports when a promise of the architecture is broken.

There is a module for each promise, `p1_convergence` to `p8_honest_readiness`, whose docstring says when the promise
binds, exactly. `oracle` runs them all: at every event and every accepted command, and twice an interval on everything
that is shown. Each checker is a class with one interface: it is made with the `History` (and with the checkers whose
bounds it needs), its `check_…` methods take a life or a node, and it reports with `History.fail`.

Terms: O *knows* a moment of N when completed rounds have brought all of N's knowledge of that moment to O; it *may
know* one when any message could have. Bodies tell what they belong to: every registration and every change of one has
its own (a `Unit`). A *hold* is a span in which an instance renewed at one node in time: from an acceptance there until
ttl after the last one, each at most ttl after the one before (less two thousandths for the clocks). A request that
waits in the inbox of a node that is paused for less than ttl came when it was made.
"""
