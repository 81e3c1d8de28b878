"""`twistd bender`: the options of a node, and the one place where it and its shells are put together."""
