"""Registrations between Thalassa's form and bender's."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from bender.core.invalid import Invalid
from bender.core.model import RegistrationRequest
from bender.core.timing import Timing
from bender.protocols.thalassa.registrations import decode_registration, encode_registration, event_frame, parse_update
from tests.protocols.thalassa.frames import FrameReader, in_words, registration_in

PATH = ("shop", "2.0.0", "127.0.0.1", "8080")
KEY = "registration/shop/2.0.0/127.0.0.1/8080"

#: An instance as bender's API returns it.
SHOWN = {
    "id": KEY,
    "resource": "Registration",
    "app": "shop",
    "version": "2.0.0",
    "host": "127.0.0.1",
    "port": 8080,
    "ttl": 60.0,
    "weight": 1,
    "meta": {"az": "a", "hostname": "vm"},
    "registered": 1_795_912_685_744,
    "node": "n1",
    "state": "up",
}

encode = msgspec.json.encode


def parsed(body: bytes, path: tuple[str, str, str, str] = PATH, **timing: float) -> RegistrationRequest:
    return parse_update(path, body, Timing(**timing))


class Updates(SynchronousTestCase):
    def refused(self, field: str, body: bytes, path: tuple[str, str, str, str] = PATH) -> None:
        self.assertEqual(self.assertRaises(Invalid, parsed, body, path).field, field)

    def test_the_seconds_are_the_ttl(self) -> None:
        """The number of seconds becomes the ttl, and all other fields become the meta."""
        wanted = parsed(b'{"az":"a","hostname":"vm","secondsToExpire":60,"pid":31895,"registered":1795912685744}')
        self.assertEqual((wanted.key, wanted.ttl_s), (KEY, 60.0))
        self.assertEqual(wanted.meta, {"az": "a", "hostname": "vm", "pid": 31895, "registered": 1795912685744})
        self.assertEqual((wanted.weight, wanted.instance), (None, None))

    def test_without_seconds(self) -> None:
        """The ttl is the default after an empty body, and after each value that is false in JavaScript."""
        for body in (
            b"",
            b" ",
            b"{}",
            *(b'{"secondsToExpire":%b}' % none for none in (b"0", b"null", b'""', b"false")),
        ):
            wanted = parsed(body)
            self.assertEqual((wanted.ttl_s, wanted.meta), (10.0, {}), body)
        self.assertEqual(parsed(b"", ttl_s=30.0).ttl_s, 30.0)

    def test_numbers(self) -> None:
        """A number may be sent as text, as in JavaScript."""
        for seconds, ttl_s in ((b"6", 6.0), (b"6.5", 6.5), (b'"6"', 6.0), (b"3600", 3600.0)):
            self.assertEqual(parsed(b'{"secondsToExpire":%b}' % seconds).ttl_s, ttl_s)

    def test_seconds_that_nodes_do_not_accept(self) -> None:
        """An invalid ttl becomes the nearest valid one: at least four intervals, at most an hour."""
        for seconds, ttl_s in ((b"2", 4.0), (b"-1", 4.0), (b"86400", 3600.0), (b"1e300", 3600.0), (b"9" * 30, 3600.0)):
            self.assertEqual(parsed(b'{"secondsToExpire":%b}' % seconds).ttl_s, ttl_s, seconds)
        self.assertEqual(parsed(b'{"secondsToExpire":2}', interval_s=0.25).ttl_s, 2.0)

    def test_no_number_of_seconds(self) -> None:
        for seconds in (b"true", b'"soon"', b'"nan"', b'"inf"', b"[1]", b'{"a":1}'):
            self.refused("secondsToExpire", b'{"secondsToExpire":%b}' % seconds)

    def test_no_object(self) -> None:
        for body in (b"[bad", b"[]", b"1", b'"x"', b"null", b"\xff", b"[" * 100_000):
            self.refused("body", body)
        self.refused("body", b'{"a":%b%b}' % (b"[" * 30, b"]" * 30))

    def test_what_does_not_name_an_instance(self) -> None:
        """Invalid addresses are refused, although Thalassa keeps them, because no load balancer could reach them."""
        self.refused("port", b"{}", ("web", "1", "10.0.0.2", "notaport"))
        self.refused("host", b"{}", ("web", "1", "a b", "80"))
        self.refused("app", b"{}", ("..", "1", "10.0.0.2", "80"))


class Listed(SynchronousTestCase):
    def shown(self, **fields: Any) -> dict[str, Any]:
        document: dict[str, Any] = msgspec.json.decode(
            encode_registration(decode_registration(encode(SHOWN | fields)), 1_795_912_685_793)
        )
        return document

    def test_to_the_byte(self) -> None:
        """The fields and their order are those of the recording, with the ttl in the meta."""
        self.assertEqual(
            encode_registration(decode_registration(encode(SHOWN | {"ttl": 4.0})), 1_795_912_685_793),
            b'{"name":"shop","version":"2.0.0","host":"127.0.0.1","port":8080,"lastKnown":1795912685793,'
            b'"meta":{"az":"a","hostname":"vm","secondsToExpire":4},"id":"/shop/2.0.0/127.0.0.1/8080"}',
        )

    def test_the_host_is_the_name_of_one_without(self) -> None:
        for meta in ({}, {"hostname": ""}, {"hostname": None}):
            shown = self.shown(meta=meta)
            self.assertEqual(shown["meta"], {"secondsToExpire": 60, "hostname": "127.0.0.1"})

    def test_parts_of_a_second(self) -> None:
        self.assertEqual(self.shown(ttl=4.5)["meta"]["secondsToExpire"], 4.5)

    def test_meta_that_came_another_way(self) -> None:
        """The seconds in the answer are those of the present ttl, even if the meta has other seconds."""
        self.assertEqual(self.shown(meta={"secondsToExpire": 5})["meta"]["secondsToExpire"], 60)

    def test_what_is_in_rotation(self) -> None:
        """An instance without traffic from other load balancers is out of rotation for Aqueduct, too."""
        for fields, in_rotation in (
            ({}, True),
            ({"weight": 0}, False),
            ({"state": "drain"}, False),
            ({"state": "maint"}, False),
            ({"suspect": True}, True),
        ):
            self.assertIs(decode_registration(encode(SHOWN | fields)).in_rotation, in_rotation, fields)


class Events(SynchronousTestCase):
    def message(self, **event: Any) -> tuple[bytes, ...]:
        (message,) = FrameReader().read(event_frame(encode(event) + b"\n"))
        return message

    def named(self, event: str, **fields: Any) -> str:
        (words,) = in_words([self.message(event=event, at=7, registration=SHOWN | fields)])
        return words

    def test_online(self) -> None:
        """In an `online` message, `lastKnown` is the time of the event."""
        message = self.message(event="online", at=1_795_912_685_793, registration=SHOWN)
        self.assertEqual(message[:2], (b"/shop/2.0.0/127.0.0.1/8080", b"online"))
        self.assertEqual(registration_in(message)["lastKnown"], 1_795_912_685_793)

    def test_changed(self) -> None:
        """A changed instance is sent as `online` in rotation, and as `offline` out of rotation."""
        self.assertEqual(self.named("changed"), "online /shop/2.0.0/127.0.0.1/8080")
        for fields in ({"state": "drain"}, {"state": "maint"}, {"weight": 0}):
            self.assertEqual(self.named("changed", **fields), "offline /shop/2.0.0/127.0.0.1/8080")
            self.assertEqual(self.named("online", **fields), "offline /shop/2.0.0/127.0.0.1/8080")

    def test_offline(self) -> None:
        """An `offline` frame has two parts, and no registration."""
        message = self.message(event="offline", reason="expired", registration=SHOWN)
        self.assertEqual(message, (b"/shop/2.0.0/127.0.0.1/8080", b"offline"))

    def test_other_events(self) -> None:
        """Events of backends and of the stream are not sent."""
        for event in (
            {"event": "synced", "cursor": "c"},
            {"event": "created", "cursor": "c", "at": 1, "reason": "configured", "backend": {"id": "backend/site"}},
        ):
            self.assertEqual(event_frame(encode(event)), b"")

    def test_names_that_are_not_ascii(self) -> None:
        """Lengths count the bytes of names."""
        fields = {"id": "registration/größe/1/127.0.0.1/80", "app": "größe"}
        self.assertEqual(self.named("offline", **fields), "offline /größe/1/127.0.0.1/80")
