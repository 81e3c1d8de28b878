"""The targets, a module each. `tests.fuzz.target` says what a module has to define."""
