"""Thalassa, the registry that inspired bender: its HTTP API and its event socket, each at a port of its own.

`registrations` has the forms of both, and `axon` the frames of the socket; they are pure. `http` and `events` serve
them.
"""
