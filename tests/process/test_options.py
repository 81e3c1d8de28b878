"""Options of any service under twistd: endpoints, files, and how wrong ones are refused."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from bender.process.options import Endpoint, OptionError, RawOption, from_toml, parse_endpoint


def endpoint(description: str) -> Endpoint:
    return parse_endpoint(RawOption("--api", description))


class Endpoints(SynchronousTestCase):
    def refused(self, description: str, *words: str) -> None:
        """Check that an endpoint is refused with one sentence that has these words."""
        sentence = str(self.assertRaises(OptionError, endpoint, description))
        for word in ("--api", *words):
            self.assertIn(word, sentence)
        self.assertNotIn("\n", sentence)
        self.assertTrue(sentence.endswith("."), sentence)

    def test_an_endpoint_that_twisted_cannot_listen_on_is_refused(self) -> None:
        """The error has the option, the value and the form of an endpoint."""
        for given in ("1729", "tcp", "tcp:http", "tcp:-1", "tcp:65536", "tcp:1:x=2", "unix:", "udp:1", "stdio:", ""):
            self.refused(given, "tcp:PORT:interface=ADDRESS", repr(given))

    def test_a_missing_certificate_is_refused(self) -> None:
        """The error names the missing file."""
        self.refused("ssl:443:interface=127.0.0.1:privateKey=/nowhere.pem", "No such file", "/nowhere.pem")

    def test_many_connections_may_wait(self) -> None:
        """The backlog is long unless the description has one."""
        with_backlog = {"tcp:9:127.0.0.1:50", "tcp6:9:50:\\:\\:1", "tcp:9:interface=127.0.0.1:backlog=7"}
        for given in ("tcp:9:interface=127.0.0.1", "tcp6:9:interface=\\:\\:1", "unix:/a", *with_backlog):
            listened = endpoint(given).listen_description
            self.assertEqual(listened, given if given in with_backlog else f"{given}:backlog=4096")
            serverFromString(MemoryReactor(), listened)


class Files(SynchronousTestCase):
    def refused(self, text: str, *words: str) -> None:
        """Check that a file is refused with one sentence that has these words and its path."""
        path = self.mktemp()
        Path(path).write_text(text)
        sentence = str(self.assertRaises(OptionError, from_toml, path, ("ttl", "interval"), "bender"))
        for word in (*words, path):
            self.assertIn(word, sentence)
        self.assertNotIn("\n", sentence)

    def test_a_number_that_cannot_be_printed_is_refused(self) -> None:
        """A number that cannot be printed is refused: TOML reads thousands of hexadecimal digits."""
        self.refused(f"ttl = 0x{'f' * 4000}", "TOML", "digits")

    def test_an_unknown_option_is_refused(self) -> None:
        """A misspelled option is refused, so that no default is used by mistake; the sentence lists the options."""
        self.refused("tll = 10", "'tll'", "ttl", "interval")
        self.refused("[node]\nttl = 10", "'node'")
        self.refused('config = "more.toml"', "'config'")

    def test_a_file_that_is_not_toml_is_refused(self) -> None:
        """The error names the line."""
        self.refused("ttl = ten", "--config", "line 1")

    def test_a_missing_file_is_refused(self) -> None:
        """The error has the system's reason."""
        self.assertIn("No such file", str(self.assertRaises(OptionError, from_toml, "/nowhere.toml", ("ttl",), "x")))
