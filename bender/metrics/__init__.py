"""Counts and histograms of nodes and drivers as plain numbers, and their text for Prometheus.

Counting costs next to nothing; metrics are made of the numbers when they are asked for.
"""
