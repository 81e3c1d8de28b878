"""Tests of `bender.run`."""
