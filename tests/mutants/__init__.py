"""Mutation testing: a program makes one small change of the core at a time, and a test has to fail."""
