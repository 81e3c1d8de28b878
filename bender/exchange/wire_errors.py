"""The errors of messages that are refused, or that cannot be sent."""

from __future__ import annotations

from bender.core.messages import Sender


class MessageRefused(Exception):
    """The bytes are not a message for this node. Nothing was changed.

    `reason` is a clause about the sender that begins with a verb. `sender` is None if it could not be read.
    """

    def __init__(self, reason: str, sender: Sender | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sender = sender


class Malformed(MessageRefused):
    """The message is invalid: no node sends it."""


class MessageTooLarge(MessageRefused):
    """The message is larger than those of any node."""


class OtherVersion(MessageRefused):
    """The wire versions of the nodes differ by more than one."""


class OtherCluster(MessageRefused):
    """The message is for another cluster."""


class Unsendable(Exception):
    """A message of this node is so large that peers would refuse it."""
