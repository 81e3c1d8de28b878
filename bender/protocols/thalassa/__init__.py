"""Thalassa, the registry that inspired bender: its HTTP API and its event socket, each at its own port.

`registrations` converts registrations for both, and `axon` encodes the frames of the socket; they are pure. `http` and
`events` serve the two ports.
"""
