"""What a client's request changes in a registration, for the rules that store it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class RegistrationUpdate(NamedTuple):
    """The new terms of a registration; `is_successor` if another instance than the registered one has sent them."""

    body: bytes
    ttl_s: float
    is_successor: bool = False


#: Returns the new terms of a registration. The arguments are its body if it is registered (else None), and otherwise
#: its body if it is hidden as `node-lost` (else None). The result None, allowed only if it is registered, renews it
#: without a change.
Merge = Callable[[bytes | None, bytes | None], RegistrationUpdate | None]
