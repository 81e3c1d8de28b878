"""The values of arguments, and the errors that quote invalid values."""

from __future__ import annotations

import click
from twisted.trial.unittest import SynchronousTestCase

from bender.cli.click_base import as_utf8
from bender.cli.params import (
    Duration,
    Events,
    Name,
    Pair,
    SettingParam,
    Steps,
    TextPair,
    fields,
    merge_fields,
    parse_value,
    registration_id,
    require_disjoint,
)

ID = "registration/web/1.2.0/10.0.0.5/8080"


class WordCase(SynchronousTestCase):
    def refused(self, message: str, convert: object, *words: object) -> None:
        assert callable(convert)
        error = self.assertRaises(click.BadParameter, convert, *words)
        self.assertIn(message, error.message)


class Locales(SynchronousTestCase):
    """Names are UTF-8, whatever the locale of the shell."""

    def test_what_the_locale_could_not_decode(self) -> None:
        """Arguments are decoded as UTF-8, up to the command line that `bender run` starts."""
        typed = ["caf\udcc3\udca9", "café", "\udcff", "--", "caf\udcc3\udca9", "--"]
        self.assertEqual(as_utf8(typed), ["café", "café", "\udcff", *typed[3:]])


class Ids(WordCase):
    def test_an_id_is_one_word_or_four(self) -> None:
        """An id may be in one word or several, with or without its kind."""
        for words in (
            ("web/1.2.0/10.0.0.5/8080",),
            (ID,),
            ("web", "1.2.0", "10.0.0.5", "8080"),
            ("web/1.2.0", "10.0.0.5/8080"),
        ):
            self.assertEqual(registration_id(words), ID)

    def test_an_id_is_canonical(self) -> None:
        """An id is in the canonical form that nodes use."""
        self.assertEqual(registration_id(("web/1/Host.Example./80",)), "registration/web/1/host.example/80")
        self.assertEqual(registration_id(("web", "1", "0:0::1", "80")), "registration/web/1/::1/80")

    def test_what_is_no_id(self) -> None:
        """The error quotes the invalid id, or names its invalid part."""
        self.refused(
            "'web/1' is not an id: give APP/VERSION/HOST/PORT, such as web/1.2.0/10.0.0.5/8080",
            registration_id,
            ("web/1",),
        )
        self.refused(
            "'a b c d e' is not an id: give APP/VERSION/HOST/PORT, such as web/1.2.0/10.0.0.5/8080",
            registration_id,
            ("a", "b", "c", "d", "e"),
        )
        self.refused("port: must be a number", registration_id, ("web/1/h/0",))
        self.refused("host: must be", registration_id, ("web/1/a b/1",))
        self.refused("app: must have", registration_id, ("", "1", "h", "1"))


class Names(WordCase):
    def test_names(self) -> None:
        """Names that the API accepts are accepted."""
        for name in ("web", "a b?", "1%2F#+ü", ":"):
            self.assertEqual(Name().convert(name, None, None), name)

    def test_what_is_no_name(self) -> None:
        """Invalid names are refused before any request is sent."""
        for name in ("", "a/b", ".", "..", "a\n", "x" * 256):
            self.refused("must", Name().convert, name, None, None)

    def test_an_id_in_place_of_a_name(self) -> None:
        """The error for an id in place of a name shows valid names."""
        self.refused("give the name alone, such as 'web' or '1.2.0'", Name().convert, "web/1.2.0", None, None)
        error = self.assertRaises(click.BadParameter, Name().convert, "", None, None)
        self.assertEqual(error.message, "'' must have 1 to 255 characters")


class Durations(WordCase):
    def test_a_number_is_of_seconds_or_has_units(self) -> None:
        """A duration is a number of seconds, or has units in decreasing order, each at most once."""
        for text, seconds in (
            ("90", 90.0),
            ("0.5", 0.5),
            ("90s", 90.0),
            ("10m", 600.0),
            ("10min", 600.0),
            ("1h", 3600.0),
            ("1h30m", 5400.0),
            ("1.5h", 5400.0),
            ("2d", 172_800.0),
            ("250ms", 0.25),
            ("1m250ms", 60.25),
        ):
            self.assertEqual(Duration().convert(text, None, None), seconds)

    def test_what_is_no_duration(self) -> None:
        """The error quotes the invalid duration, and shows a valid one."""
        for text in ("", "x", "m", "-1", "1e3", "inf", "nan", "10 m", "1m1h", "1h1h", "2m30", "\u0665s", "1_0"):
            self.refused("is not a duration: give seconds, or units as in 90s", Duration().convert, text, None, None)

    def test_the_range_is_named(self) -> None:
        """The error has both bounds, or the only bound."""
        between = Duration("1s", "1h")
        self.assertEqual((between.convert("1", None, None), between.convert("60m", None, None)), (1.0, 3600.0))
        for text in ("0.9", "3601"):
            self.refused("give at least 1s and at most 1h", between.convert, text, None, None)
        self.refused("'0' is out of range: give at least 1s", Duration("1s").convert, "0", None, None)


class Settings(WordCase):
    """Settings of backends and frontends in the form `KEY=VALUE`."""

    def pairs(self, *words: str) -> list[tuple[str, object]]:
        return [SettingParam().convert(word, None, None) for word in words]

    def test_parts_of_an_object_have_dots_between_their_keys(self) -> None:
        """A key with dots changes a part of an object, and the other parts stay."""
        found = {"health": {"path": "/", "interval": 2}, "balance": "random"}
        for words, changed in (
            (["health.path=/up"], {"health": {"path": "/up", "interval": 2}}),
            (["health.interval=null"], {"health": {"path": "/"}}),
            (["health.interval=null", "health.path=null"], {"health": None}),
            (["canary.version=2", "canary.percent=5"], {"canary": {"version": "2", "percent": 5}}),
            (["a.b.c=1", "a.b.d=2", "balance=source"], {"a": {"b": {"c": 1, "d": 2}}, "balance": "source"}),
        ):
            self.assertEqual(merge_fields(found, self.pairs(*words)), changed)
        self.assertEqual(found["health"], {"path": "/", "interval": 2})

    def test_what_can_only_be_text_is_text(self) -> None:
        """Values of text fields are text: `1.10` as a number would be refused or changed."""
        self.assertEqual(self.pairs("canary.version=1.10", "version=2"), [("canary.version", "1.10"), ("version", "2")])
        self.assertEqual(self.pairs('bind="*:80"', "path=null"), [("bind", "*:80"), ("path", None)])
        self.assertEqual(self.pairs("meta.n=1"), [("meta.n", 1)])

    def test_what_has_no_parts(self) -> None:
        """The error names the field that has no parts, or quotes the invalid key."""
        pairs = self.pairs("balance.x=1")
        self.refused("'balance' is not an object, so it has no 'x'", merge_fields, {"balance": "random"}, pairs)
        for word in (".a=1", "a.=1", "a..b=1"):
            self.refused("is not a KEY: give a field, or a path with dots", SettingParam().convert, word, None, None)

    def test_a_whole_and_a_part_of_it(self) -> None:
        """An object and a part of it cannot both be given, because the result would depend on their order."""
        pairs = self.pairs("health.path=/", "health=null")
        self.refused("'health' and a part of it, 'health.path', are given", require_disjoint, pairs)
        require_disjoint(self.pairs("health.path=/", "healthy=1", "health.host=x"))


class Pairs(WordCase):
    def test_values_are_json_or_else_text(self) -> None:
        """A value is JSON if it is valid JSON, and otherwise text, so text needs no quotes."""
        for text, value in (
            ("1", 1),
            ("true", True),
            ("null", None),
            ('"1"', "1"),
            ('{"a":[1]}', {"a": [1]}),
            ("1.2.0", "1.2.0"),
            ("a=b", "a=b"),
            ("", ""),
            ("[" * 5000, "[" * 5000),
        ):
            self.assertEqual(parse_value(text), value)
            self.assertEqual(Pair().convert(f"key={text}", None, None), ("key", value))

    def test_of_a_text_pair_they_are_text(self) -> None:
        """The values of a text pair are always text."""
        self.assertEqual(TextPair().convert("n=1", None, None), ("n", "1"))
        self.assertEqual(TextPair().convert(("n", "1"), None, None), ("n", "1"))

    def test_what_is_no_pair(self) -> None:
        """A key without a value is refused, and so is a value without a key."""
        for text in ("key", "=value", ""):
            self.refused("is not KEY=VALUE", Pair().convert, text, None, None)
            self.refused("is not KEY=VALUE", TextPair().convert, text, None, None)

    def test_of_two_values_for_a_key_none_is_lost(self) -> None:
        """Two values for one key are refused, so that no value is lost."""
        self.assertEqual(fields([("a", 1), ("b", 2)], "--meta"), {"a": 1, "b": 2})
        self.refused("'a' is given twice", fields, [("a", 1), ("a", 1)], "--meta")


class EventNames(WordCase):
    def test_several(self) -> None:
        """Events are separated by commas."""
        self.assertEqual(Events().convert("online,removed", None, None), {"online", "removed"})

    def test_one_that_never_comes(self) -> None:
        """An unknown event is refused, because a command would wait for it without end."""
        self.refused(
            "'onlin' is not an event: give some of online, offline,", Events().convert, "online,onlin", None, None
        )


class Percentages(WordCase):
    def test_steps(self) -> None:
        """Percentages increase, and whole numbers have no decimal point."""
        for text, steps in (("5,25,100", "(5, 25, 100)"), ("0.5, 2.50", "(0.5, 2.5)"), ("100", "(100,)")):
            self.assertEqual(repr(Steps().convert(text, None, None)), steps)
        self.assertEqual(Steps().convert((5, 100), None, None), (5, 100))

    def test_what_are_no_steps(self) -> None:
        """The error differs for invalid numbers and for numbers that do not increase."""
        for text in ("", "x", "5,", "5 25", "1_0", "\u0665", "nan", "inf", "1e400", "-1", "5."):
            self.refused("is not a list of percentages", Steps().convert, text, None, None)
        for text in ("25,5", "5,5", "0,100", "50,101", "100.1"):
            self.refused("does not rise", Steps().convert, text, None, None)
