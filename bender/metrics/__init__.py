"""Counts and histograms of nodes and drivers as plain numbers, and their text for Prometheus.

Counting costs next to nothing, because metrics are made from the numbers only when a client requests them.
"""
