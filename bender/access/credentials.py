"""Credentials: where clients put their token in a request.

Other programs have habits of their own: Eureka's clients send Basic with the token as the password, Prometheus a bare
`Authorization: TOKEN`, clients of Consul `X-Consul-Token`.
"""

from __future__ import annotations

import binascii
from base64 import b64decode

#: The headers in which a token may come, in lower case. The first that is sent decides.
AUTHORIZATION = b"authorization"
CONSUL_TOKEN = b"x-consul-token"


def token_in(authorization: bytes | None, consul_token: bytes | None) -> bytes | None:
    """Return the token that is in the headers of a request; None if there is none.

    A header that has several values, or a scheme that is not known, has no token that is valid: all of it is returned.
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
