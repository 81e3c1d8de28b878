"""Protocols of other programs: each module serves one of them, and can be switched off.

A protocol uses the views, events and commands of a node and, if it is served over HTTP, the routes of `bender.api`; it
never uses another protocol. One that is off has no routes, listens on nothing, and does no work.
"""
