"""Replays recorded facts and reports broken promises. Nothing here reads a clock, a file or a socket."""
