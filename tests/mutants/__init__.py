"""Mutation testing: the core is changed by machine, one small change at a time, and the tests have to notice."""
