"""What consumers confirm and report, and how much of it."""

from __future__ import annotations

from msgspec.json import encode
from twisted.trial.unittest import SynchronousTestCase

from bender.core.consumer import (
    REPORT_BYTES_MAX,
    REPORTED_MAX,
    Awaited,
    Confirmation,
    Counted,
    Report,
    parse_confirmation,
)
from bender.core.model import Invalid


def confirmation(requests: int = 0, errors: int = 0, name: str = "b") -> bytes:
    counts = {name: {"1": {"requests": requests, "errors": errors}}}
    return encode({"cursor": "c", "report": {"down": [], "backends": counts}})


class Confirming(SynchronousTestCase):
    def test_parsed(self) -> None:
        """None is the least that can be counted, and 2**53 the most; a name has a character at least."""
        for requests in (0, 2**53):
            report = Report((), {"b": {"1": Counted(requests, 0)}})
            self.assertEqual(parse_confirmation(confirmation(requests)), Confirmation("c", report))
        for document in (confirmation(2**53 + 1), confirmation(errors=-1), confirmation(name="")):
            self.assertRaises(Invalid, parse_confirmation, document)

    def test_limits(self) -> None:
        """A thousand names, in sixty kilobytes."""
        self.assertEqual((REPORTED_MAX, REPORT_BYTES_MAX), (1000, 61_440))

    def test_nothing_awaited(self) -> None:
        self.assertEqual(Awaited(), Awaited("", 0, 0, 0.0))
