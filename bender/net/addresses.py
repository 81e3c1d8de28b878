"""Addresses of network peers as text, and the error for a peer that does not answer.

Every command of `bender` imports this module when it starts, so it must not import Twisted.
"""

from __future__ import annotations


class NoAnswer(Exception):
    """There is no answer. The message is a clause about the peer that was asked, and begins with a verb."""


def host_port(host: str, port: int) -> str:
    """Return an address as it is written in a URL: with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_host_port(address: str) -> tuple[str, int]:
    """Return the host, without brackets, and the port of a text that `host_port` returned."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
