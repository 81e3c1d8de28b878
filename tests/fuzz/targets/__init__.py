"""The targets, one module each. `tests.fuzz.target` lists the names that a module must define."""
