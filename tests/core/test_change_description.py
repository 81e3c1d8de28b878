"""The differences between two settings, in words."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bender.core.change_description import VALUE_CHARACTERS_MAX, differences

SHOP = {"id": "backend/shop", "resource": "Backend", "name": "shop", "app": "web", "version": "1.2.0"}
WWW = {"id": "frontend/www", "resource": "Frontend", "name": "www", "backend": "shop", "bind": "*:80"}

_json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
_settings = st.dictionaries(
    st.sampled_from(["app", "version", "backend", "canary", "rules", "servers", "health", "meta", "x"]), _json
)


def changed(settings: dict[str, Any], **fields: Any) -> list[str]:
    """Return the differences after these fields are set."""
    return differences(settings, settings | fields)


def changed_from(fields: dict[str, Any], **others: Any) -> list[str]:
    """Return the differences after `others` are set in a backend with `fields`."""
    return changed(SHOP | fields, **others)


class Versions(SynchronousTestCase):
    def test_another_version(self) -> None:
        """A deploy is described by the version before and the version now."""
        self.assertEqual(changed(SHOP, version="1.3.0"), ["version 1.2.0 → 1.3.0"])

    def test_another_app(self) -> None:
        """The app comes before its version, as it does in the settings."""
        self.assertEqual(changed(SHOP, app="shop", version="2"), ["app web → shop", "version 1.2.0 → 2"])

    def test_nothing(self) -> None:
        """Equal settings have no differences, and null is the same as absent."""
        self.assertEqual(changed(SHOP), [])
        self.assertEqual(changed(SHOP, canary=None), [])
        self.assertEqual(changed_from({"x": None, "version": None}), [])
        self.assertEqual(changed_from({"canary": None}, x=1), ["x 1"])

    def test_created(self) -> None:
        """A new object is described by all of its fields, and a removed one by none."""
        self.assertEqual(
            differences(None, SHOP | {"balance": "leastconn"}), ["app web", "version 1.2.0", "balance leastconn"]
        )
        self.assertEqual(differences(SHOP, None), [])


class Canaries(SynchronousTestCase):
    OLD = {"canary": {"version": "1.3.0", "percent": 5}}

    def test_begins(self) -> None:
        """A new canary is described by its share of the traffic and its version."""
        self.assertEqual(
            changed(SHOP, canary={"version": "1.3.0", "percent": 20}), ["canary version 1.3.0 with 20 % of the traffic"]
        )

    def test_grows(self) -> None:
        """Another share of the same version is described by both shares."""
        self.assertEqual(
            changed_from(self.OLD, canary={"version": "1.3.0", "percent": 12.5}),
            ["canary version 1.3.0 with 12.5 % of the traffic (was 5 %)"],
        )

    def test_another_version(self) -> None:
        """A canary of another version is described by the new and the former one."""
        self.assertEqual(
            changed_from(self.OLD, canary={"version": "1.4.0", "percent": 1}),
            ["canary version 1.4.0 with 1 % of the traffic (was version 1.3.0 with 5 %)"],
        )

    def test_ends(self) -> None:
        """The end of a canary names its version, unless this is the version of the backend now."""
        self.assertEqual(changed_from(self.OLD, canary=None), ["canary version 1.3.0 ended"])
        self.assertEqual(
            changed_from(self.OLD, canary=None, version="1.3.0"), ["version 1.2.0 → 1.3.0", "canary ended"]
        )

    def test_of_a_later_release(self) -> None:
        """Unknown parts of a canary do no harm."""
        odd = {"canary": {"version": "1.3.0", "percent": "5"}}
        self.assertEqual(changed(SHOP, **odd), ["canary version 1.3.0 with 5 % of the traffic"])
        self.assertEqual(changed(SHOP, canary="1.3.0"), [])

    def test_whole_numbers(self) -> None:
        """Whole numbers are shown without a fraction, however they were sent."""
        self.assertEqual(
            changed(SHOP, canary={"version": "2", "percent": 5.0}), ["canary version 2 with 5 % of the traffic"]
        )


class OtherFields(SynchronousTestCase):
    def test_a_value(self) -> None:
        """Any field is described by its new and its former value."""
        self.assertEqual(changed(SHOP, balance="leastconn"), ["balance leastconn"])
        self.assertEqual(changed_from({"balance": "source"}, balance="uri"), ["balance uri (was source)"])
        self.assertEqual(changed_from({"balance": "source"}, balance=None), ["balance removed (was source)"])
        self.assertEqual(changed(SHOP, slow_start=30), ["slow_start 30"])

    def test_an_object(self) -> None:
        """Only the differing parts of an object are named, by their paths."""
        old = {"health": {"path": "/", "interval": 2}}
        self.assertEqual(changed(SHOP, **old), ["health.path /", "health.interval 2"])
        self.assertEqual(changed_from(old, health={"path": "/up", "interval": 2}), ["health.path /up (was /)"])
        self.assertEqual(changed_from(old, health={"path": "/"}), ["health.interval removed (was 2)"])
        self.assertEqual(changed_from(old, health=None), ['health removed (was {"path":"/","interval":2})'])

    def test_meta(self) -> None:
        """A user's own fields are described like any other, however deeply nested they are."""
        self.assertEqual(
            changed_from({"meta": {"a": {"b": 1}, "c": 2}}, meta={"a": {"b": 3}, "c": 2}), ["meta.a.b 3 (was 1)"]
        )

    def test_null_in_meta(self) -> None:
        """A null in `meta` is a value, and not a removed field."""
        self.assertEqual(differences({}, {"meta": {"a": None}}), ["meta.a null"])

    def test_long_values(self) -> None:
        """A long value is cut."""
        (words,) = changed(SHOP, note="x" * (VALUE_CHARACTERS_MAX + 1))
        self.assertEqual(words, f"note {'x' * VALUE_CHARACTERS_MAX}…")
        self.assertEqual(changed(SHOP, note="x" * VALUE_CHARACTERS_MAX), [f"note {'x' * VALUE_CHARACTERS_MAX}"])


class Lists(SynchronousTestCase):
    def test_servers(self) -> None:
        """Fixed servers are added and removed one by one."""
        self.assertEqual(
            changed_from({"servers": ["10.0.0.1:80", "10.0.0.2:80"]}, servers=["10.0.0.2:80", "10.0.0.3:80"]),
            ["server 10.0.0.1:80 removed", "server 10.0.0.3:80 added"],
        )
        self.assertEqual(changed_from({"servers": ["10.0.0.1:80"]}, servers=None), ["server 10.0.0.1:80 removed"])
        self.assertEqual(changed(SHOP, servers=[]), ["servers none"])
        self.assertEqual(changed(SHOP, servers="of a later release"), ["server of a later release added"])

    def test_equal_items(self) -> None:
        """Equal items of a list are counted."""
        old = {"servers": ["10.0.0.1:80", "10.0.0.1:80"]}
        self.assertEqual(changed_from(old, servers=["10.0.0.1:80"]), ["server 10.0.0.1:80 removed"])

    def test_rules(self) -> None:
        """A rule is described by its condition and its backend."""
        path, host = {"path": "/api", "backend": "api"}, {"host": "a.example", "backend": "a"}
        header = {"header": "X-Beta", "value": "1", "backend": "beta"}
        self.assertEqual(
            changed(WWW, rules=[path, host, header]),
            ["rule path /api to api added", "rule host a.example to a added", "rule header X-Beta: 1 to beta added"],
        )
        self.assertEqual(changed(WWW | {"rules": [path, host]}, rules=[host]), ["rule path /api to api removed"])
        self.assertEqual(changed(WWW, rules=["of a later release"]), ["rule of a later release added"])

    def test_the_order_of_rules(self) -> None:
        """Another order of rules is a difference, because the first matching rule wins."""
        path, host = {"path": "/api", "backend": "api"}, {"host": "a.example", "backend": "a"}
        self.assertEqual(changed(WWW | {"rules": [path, host]}, rules=[host, path]), ["rules in another order"])

    def test_the_backend_of_a_frontend(self) -> None:
        """Another backend of a frontend is described by the former and the new one."""
        self.assertEqual(changed(WWW, backend="new"), ["backend shop → new"])
        self.assertEqual(changed(WWW, backend=None), ["backend removed (was shop)"])


class AnySettings(SynchronousTestCase):
    @given(_settings, _settings)
    def test_every_difference_is_described(self, one: dict[str, Any], other: dict[str, Any]) -> None:
        """Any two settings that differ in the version have a description, and equal ones have none."""
        words = differences(one, other)
        plain = {key: value for key, value in one.items() if value is not None}
        same = plain == {key: value for key, value in other.items() if value is not None}
        self.assertFalse(same and words)
        if plain.get("version") != other.get("version"):
            self.assertTrue([each for each in words if each.startswith("version ")])
