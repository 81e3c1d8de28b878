"""The names under which browsers may reach a node that protects nothing but its address.

A web page may read the answers of its own site only. If the name of a site begins to resolve to 127.0.0.1 once its page
is loaded (DNS rebinding), the node is that site for a browser, and the page may read and change everything. Only `Host`
then shows the name, so a name that is not the node's is refused. The attack needs a name in DNS: no page of others has
an address for a name, or `localhost`, or a name without a dot.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from bender.access.tokens import AccessDenied, Tokens
from bender.core.model import shown_name

#: Values of `Host` that were accepted and are remembered: clients send the same few.
_REMEMBERED_MAX = 1024

#: Clients without a name are not browsers.
_NO_HOST = (None, b"")

#: A name of 253 characters, a dot, a colon and a port.
_HOST_BYTES_MAX = 260

_HOST = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[0-9A-Za-z._-]+))(?::[0-9]*)?")


class HostRefused(AccessDenied):
    """The `Host` of a request is not a name of the node. The message shows it, and how to allow it."""

    code = "FORBIDDEN"


class HostCheck:
    """The check of `Host` at one endpoint.

    A token protects better than a name, so there is no check while tokens are required, unless it is made `always`.
    """

    def __init__(self, names: Iterable[str], tokens: Tokens, *, always: bool = False) -> None:
        """`names` are those of the node, in lower case and without a final dot."""
        self._names = frozenset(names)
        self._tokens = tokens
        self._always = always
        #: Values that are accepted, to look them up without a call: those that clients have sent, and no header.
        self.accepted: set[bytes | None] = {*_NO_HOST}

    def permits(self, host: bytes | None) -> bool:
        """Return True if a request with this `Host`, None without one, may be answered.

        A header that was sent several times has its values joined by commas, which is not a name.
        """
        return host in self.accepted or self._accept(host or b"")

    def require(self, host: bytes | None) -> None:
        """Raise `HostRefused` where a request with this `Host` may not be answered."""
        if not self.permits(host):
            shown = shown_name((host or b"").decode("latin-1"))
            raise HostRefused(
                f"Host: {shown} is not a name of this node: use localhost or an address, or start the node with "
                "--allow-host NAME"
            )

    def _accept(self, host: bytes) -> bool:
        if self._tokens.required and not self._always:
            return True
        if not self._is_own(host):
            return False
        if len(self.accepted) >= _REMEMBERED_MAX:
            self.accepted.intersection_update(_NO_HOST)
        self.accepted.add(host)
        return True

    def _is_own(self, host: bytes) -> bool:
        found = _HOST.fullmatch(host.decode("latin-1")) if len(host) <= _HOST_BYTES_MAX else None
        if found is None:
            return False
        if found["name"] is None:
            return _is_address(IPv6Address, found["address"])
        name = found["name"].lower().removesuffix(".")
        local = "." not in name or name.endswith(".localhost")
        return local or name in self._names or _is_address(IPv4Address, name)


def _is_address(kind: type[IPv4Address | IPv6Address], text: str) -> bool:
    try:
        kind(text)
    except AddressValueError:
        return False
    return True
