"""Addresses of network peers as text, and the error for a peer that does not answer.

Every command of `bender` imports this module when it starts, so it must not import Twisted.
"""

from __future__ import annotations


class NoAnswer(Exception):
    """A peer does not answer. The message is a clause that begins with a verb: the peer is its subject."""


def host_port(host: str, port: int) -> str:
    """Return `host:port` as in a URL, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_host_port(address: str) -> tuple[str, int]:
    """Return the host, without brackets, and the port in a text that `host_port` returned."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
