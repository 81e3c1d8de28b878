"""Check the name in `Host`, to protect a node on a local address against DNS rebinding.

A web page may read only the answers of its own site. An attacker can make the name of a site resolve to 127.0.0.1 after
its page is loaded (DNS rebinding). For the browser, the node is then that site, and the page may read and change
everything. Only the `Host` header shows the foreign name, so the node refuses names that are not its own.

The attack needs a name in DNS. So the node accepts addresses, `localhost` and names without a dot, because no page of
another site has such a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from bender.access.tokens import AccessDenied, Tokens
from bender.core.model import printable_name

#: Accepted values of `Host` that are cached: clients send the same few values.
_CACHED_MAX = 1024

#: A request without a name, which does not come from a browser.
_NO_HOST = (None, b"")

#: A name of 253 characters, a dot, a colon and a port.
_HOST_BYTES_MAX = 260

_HOST = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[0-9A-Za-z._-]+))(?::[0-9]*)?")


class HostRefused(AccessDenied):
    """The `Host` of a request is not a name of the node. The message has the name, and says how to allow it."""

    code = "FORBIDDEN"


class HostCheck:
    """The check of `Host` at one endpoint.

    A token protects better than a name. So while tokens are required, all names are accepted, unless `always` is set.
    """

    def __init__(self, names: Iterable[str], tokens: Tokens, *, always: bool = False) -> None:
        """`names` are the names of the node, in lower case and without a final dot."""
        self._names = frozenset(names)
        self._tokens = tokens
        self._always = always
        #: Accepted values, for a look-up without a call: those that clients have sent, and None for no header.
        self.accepted: set[bytes | None] = {*_NO_HOST}

    def permits(self, host: bytes | None) -> bool:
        """Return True if a request with this `Host` (None without the header) may be answered.

        The values of a header that was sent several times are joined by commas, so they are not a name.
        """
        return host in self.accepted or self._accept(host or b"")

    def require(self, host: bytes | None) -> None:
        """Raise `HostRefused` if a request with this `Host` must not be answered."""
        if not self.permits(host):
            shown = printable_name((host or b"").decode("latin-1"))
            raise HostRefused(
                f"Host: {shown} is not a name of this node: use localhost or an address, or start the node with "
                "--allow-host NAME"
            )

    def _accept(self, host: bytes) -> bool:
        if self._tokens.required and not self._always:
            return True
        if not self._is_own(host):
            return False
        if len(self.accepted) >= _CACHED_MAX:
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
