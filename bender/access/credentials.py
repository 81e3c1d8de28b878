"""Find the token of a client in the headers of a request.

Clients of other registries send it in other forms: Eureka's clients send Basic credentials with the token as the
password, Prometheus sends `Authorization: TOKEN` without a scheme, and clients of Consul send `X-Consul-Token`.
"""

from __future__ import annotations

import binascii
from base64 import b64decode

#: The headers that may have a token, in lower case. If both are sent, only the first one counts.
AUTHORIZATION = b"authorization"
CONSUL_TOKEN = b"x-consul-token"


def token_in(authorization: bytes | None, consul_token: bytes | None) -> bytes | None:
    """Return the token in the headers of a request; None if there is none.

    A header with several values, or with an unknown scheme, has no valid token: the whole header is returned.
    """
    if authorization is None:
        return consul_token
    scheme, separator, rest = authorization.partition(b" ")
    rest = rest.strip(b" ")
    if not separator:
        return authorization
    if scheme.lower() == b"bearer":
        return rest
    if scheme.lower() == b"basic":
        return _password(rest)
    return authorization


def _password(encoded: bytes) -> bytes:
    """Return the password of Basic credentials (RFC 7617); an empty one if they are malformed."""
    try:
        return b64decode(encoded, validate=True).partition(b":")[2]
    except binascii.Error:
        return b""
