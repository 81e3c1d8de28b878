"""Hosts and ports, and addresses that have both (`bender.core.hosts`, `bender.net.addresses`)."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address

from hypothesis import strategies as st

from bender.core.hosts import PORT_MAX, canonical_host, destination, is_destination, parse_port
from bender.core.invalid import Invalid
from bender.net.addresses import host_port, split_host_port

BYTES_MAX = 300
WORDS = (b"::ffff:", b"fe80::1%eth0", b"255.255.255.255", b"0.0.0.0", b"::", b"xn--", b".", b"_", b"-", b"65535", b"[")

_ADDRESSES = st.ip_addresses().map(str)
_NAMES = st.lists(st.text("abcXYZ019-_", min_size=1, max_size=64), min_size=1, max_size=5).map(".".join)
_ODD = st.sampled_from(
    ["10.1", "0x7f.1", "010.0.0.1", "1.2.3.4.", "::1%1", "a..b", "-a", "a-", "\u00e9", "[::1]", "1" * 11]
)
NEAR = st.tuples(_ADDRESSES | _NAMES | _ODD, st.sampled_from(["", ".", " ", "\n", "\0", "%", "80"])).map(
    lambda parts: "".join(parts).encode()
)


def fuzz(sent: bytes) -> None:
    """A host or port has one canonical form, which is ASCII without spaces, or raises `Invalid`."""
    text = sent.decode("utf-8", "surrogateescape")
    with suppress(Invalid):
        assert 1 <= parse_port(text) <= PORT_MAX
    try:
        host = canonical_host(text)
    except Invalid:
        if text.isascii() and text != text.lower():
            assert not _is_valid(text.lower()), "it is valid in lower case alone"
        try:
            destination(text)
        except Invalid:
            return
        raise AssertionError("an instance may be at a host that is not valid") from None
    assert canonical_host(host) == host == canonical_host(text.upper())
    assert host.isascii() and host.isprintable() and not {*host} & {*" /%[]@?#\"'\\"}, host
    assert split_host_port(host_port(host, 80)) == (host, 80)
    try:
        reachable = is_destination(ip_address(host))
    except ValueError:
        reachable = True
    try:
        assert destination(text) == host and reachable
    except Invalid:
        assert not reachable


def _is_valid(host: str) -> bool:
    try:
        canonical_host(host)
    except Invalid:
        return False
    return True
