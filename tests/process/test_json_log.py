"""Events as lines of JSON."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.logger import LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from bender.process.json_log import json_line


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError

    __repr__ = __str__


class Lines(SynchronousTestCase):
    def line(self, event: dict[str, Any]) -> dict[str, Any]:
        line = json_line(event)
        self.assertEqual((line.count("\n"), line[-1], line.isascii()), (1, "\n", True))
        decoded: dict[str, Any] = json.loads(line, parse_constant=self.fail)
        return decoded

    def event(self, format_: str = "x", **fields: Any) -> dict[str, Any]:
        usual = {"log_namespace": "bender.here", "log_level": LogLevel.warn, "log_time": 1_795_447_942.2489}
        return {**usual, "log_format": format_, **fields}

    def test_keys(self) -> None:
        """The time is in UTC and cut to milliseconds; the fields of the message come after the fixed keys."""
        line = self.line(self.event("Peer {peer} is {lag:.1f} s late, again: {again}", peer="n2", lag=1.25, again=True))
        self.assertEqual(
            [*line.items()],
            [
                ("time", "2026-11-23T15:32:22.248Z"),
                ("level", "warn"),
                ("namespace", "bender.here"),
                ("message", "Peer n2 is 1.2 s late, again: True"),
                ("again", True),
                ("lag", 1.25),
                ("peer", "n2"),
            ],
        )

    def test_a_machine_in_another_zone(self) -> None:
        """The time is in UTC, whatever the time zone of the machine."""
        zone = {name: os.environ[name] for name in ("TZ",) if name in os.environ}
        self.addCleanup(time.tzset)
        self.addCleanup(os.environ.update, zone)
        self.addCleanup(os.environ.pop, "TZ")
        os.environ["TZ"] = "Asia/Tokyo"
        time.tzset()
        self.assertEqual(self.line(self.event())["time"], "2026-11-23T15:32:22.248Z")

    def test_what_is_no_field(self) -> None:
        """Values that the message does not use, objects, and Twisted's own values are not fields."""
        address = IPv4Address("TCP", "10.0.0.5", 80)
        format_ = "{address} {address.port} {log_text} {call()}"
        line = self.line(self.event(format_, address=address, log_text="t", token="secret", call=lambda: "c"))
        self.assertEqual([*line], ["time", "level", "namespace", "message"])

    def test_names_that_every_line_has(self) -> None:
        """A field never replaces a fixed key."""
        line = self.line(self.event("{time} {level} {message} {namespace} {traceback}", time=1, level=2, message=3))
        self.assertEqual((line["level"], [*line]), ("warn", ["time", "level", "namespace", "message"]))

    def test_failures(self) -> None:
        """The traceback of a failure is one value, even if the exception cannot be printed."""
        line = self.line(self.event("It failed.", log_failure=Failure(ZeroDivisionError("why"))))
        self.assertEqual(line["message"], "It failed.")
        self.assertIn("ZeroDivisionError: why", line["traceback"])
        self.assertIn("traceback", self.line(self.event(log_failure=Failure(Unprintable()))))
        self.assertNotIn("traceback", self.line(self.event(log_failure="no failure")))

    def test_hardly_an_event(self) -> None:
        """Every line has a time, a level, a namespace and a message, even if the event has none of them."""
        self.assertEqual(self.line({}), {"time": None, "level": "info", "namespace": "-", "message": ""})
        old = {"log_time": 0.0, "log_system": "HTTPChannel", "log_format": "{log_text}", "log_text": "gone"}
        self.assertEqual(
            self.line(old),
            {"time": "1970-01-01T00:00:00.000Z", "level": "info", "namespace": "HTTPChannel", "message": "gone"},
        )
        self.assertIsNone(self.line(self.event(log_time=1e300))["time"])

    def test_values_that_json_does_not_have(self) -> None:
        """Values that JSON cannot represent become equivalent text."""
        values = (float("nan"), float("-inf"), 10**5000, "\ud800", "line\nbreak\0é")
        shown = [self.line(self.event("{x}", x=value))["x"] for value in values]
        self.assertEqual(shown, ["nan", "-inf", hex(10**5000), "?", "line\nbreak\0é"])

    def test_formats_that_are_not_valid(self) -> None:
        """For an invalid format, the message has Twisted's error."""
        for format_ in ("{", "{0!z}", "{}"):
            self.assertNotEqual(self.line(self.event(format_))["message"], "")

    @given(
        st.dictionaries(
            st.sampled_from(["a", "b", "log_text", "log_format", "log_time", "log_namespace", "log_failure", "time"]),
            st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.lists(st.integers()),
        ),
        st.text() | st.sampled_from(["{a} {b}", "{a!r}", "{a:d}", "{b[0]}", "{a()}"]),
    )
    def test_anything(self, fields: dict[str, Any], format_: str) -> None:
        """Any event becomes a line of JSON."""
        self.line({"log_format": format_, **fields})
