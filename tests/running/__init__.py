"""Tests of `bender.running`."""
