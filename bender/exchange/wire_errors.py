"""Why a message is refused, and why one cannot be sent."""

from __future__ import annotations

from bender.core.messages import Sender


class MessageRefused(Exception):
    """The bytes are not a message for this node. Nothing was changed.

    `reason` is a clause that begins with a verb, and `sender` is the sender, where that could be read.
    """

    def __init__(self, reason: str, sender: Sender | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sender = sender


class Malformed(MessageRefused):
    """No node sends such a message."""


class MessageTooLarge(MessageRefused):
    """The message is beyond the limits of any node."""


class OtherVersion(MessageRefused):
    """The wire versions are too far apart."""


class OtherCluster(MessageRefused):
    """The message is meant for another cluster."""


class Unsendable(Exception):
    """A message of this node that peers would refuse."""
