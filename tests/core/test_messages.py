"""Default values of messages, and messages that are the same for all receivers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.core.ledger import Claim, Copy, Delta
from bender.core.messages import ConfigSetting, Counter, Message, OutgoingMessage, Sender

SENDER = Sender(1, "a", "a:1730")


class Defaults(SynchronousTestCase):
    def test_nothing_said(self) -> None:
        self.assertEqual(SENDER.api_port, 0)
        self.assertEqual(Counter(1, "a", "a", 5, 0.0), Counter(1, "a", "a", 5, 0.0, False, 0.0, 0))
        self.assertFalse(OutgoingMessage("a", Message(SENDER), 1.0).push)

    def test_age(self) -> None:
        """The default age of a setting is 0, and settings that differ only in age are equal."""
        made = ConfigSetting("state/a", 3, 7, 0, "ops", b"up", 60.0)
        self.assertEqual((made.age_s, made.rank[:2]), (0.0, (3, 7)))
        self.assertEqual(made, ConfigSetting("state/a", 3, 7, 0, "ops", b"up", 60.0, 5.0))

    def test_rank_by_duration(self) -> None:
        """Settings that differ only in their duration, or of which one has none, have different ranks."""
        ranks = [ConfigSetting("state/a", 3, 7, 0, "ops", b"up", lasts_s).rank for lasts_s in (None, 1.0, 2.0)]
        self.assertEqual(len({*ranks}), 3)


class ForAll(SynchronousTestCase):
    """A message with copies or settings is for one receiver."""

    def test_for_all(self) -> None:
        whole = Delta(1, 0, 0, 1, 1, (Claim(1, 1, "k", b"{}", 10.0, 1, 1, 1),))
        copied = Delta(2, 0, 0, 1, 1, (Copy(2, 1, 1, 1),))
        setting = ConfigSetting("backend/b", 1, 1, 0, "ops", b"{}")
        for message, for_all in (
            (Message(SENDER, deltas=(whole,)), True),
            (Message(SENDER, deltas=(whole, copied)), False),
            (Message(SENDER, deltas=(whole,), settings=(setting,)), False),
        ):
            self.assertEqual(message.is_same_for_all, for_all)
