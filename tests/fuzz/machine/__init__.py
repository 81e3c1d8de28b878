"""A machine that sends a node requests for every route, in any order, and compares each answer with a simple model."""
