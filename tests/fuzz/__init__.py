"""Fuzzing: a target for each decoder (`targets/`), the inputs that are kept of each (`corpus/`), the whole HTTP API."""
