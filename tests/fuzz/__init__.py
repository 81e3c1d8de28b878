"""Fuzzing: a target for each decoder (`targets/`), its stored inputs (`corpus/`), and the HTTP API (`machine/`)."""
