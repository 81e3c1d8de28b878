"""`twistd bender`: the options of a node, and the one place where the node and its shells are built."""
