"""The daemon `twistd bender` around its node: what changes in it while it runs."""
