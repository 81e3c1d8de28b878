"""Tests of the exchange: whole HTTP conversations in memory, on a clock moved by hand."""
