"""Tests of `bender.client`."""
