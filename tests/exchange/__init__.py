"""Tests of the exchange: whole HTTP conversations in memory, on a clock that is moved by hand."""
