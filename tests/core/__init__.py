"""Tests of the core: no sockets, no clock, no sleeping."""
