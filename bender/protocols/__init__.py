"""Protocols of other programs: each module serves one of them, and can be switched off.

A protocol uses the view, the events and the commands of a node and, if it is served over HTTP, the routes of
`bender.api`. It never uses another protocol. A protocol that is off has no routes, opens no port, and does no work.
"""
