"""Suggestions for misspelled names."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from bender.core.did_you_mean import (
    CHARACTERS_MAX,
    LISTED_MAX,
    did_you_mean,
    names_at,
    nearest_names,
    reword_bound,
    unknown_field,
)
from bender.core.invalid import Invalid
from bender.core.model import decode_json


class Part(msgspec.Struct, forbid_unknown_fields=True, rename={"size_s": "size"}):
    size_s: float = 0.0


class Whole(msgspec.Struct, forbid_unknown_fields=True):
    one: Part | None = None
    many: tuple[Part, ...] = ()
    named: dict[str, Part] = {}
    text: str = ""
    perhaps: str | dict[str, Part] | None = None


class Nearest(SynchronousTestCase):
    def test_of_several(self) -> None:
        """The most similar names are suggested, up to a number; without a similar name there is no suggestion."""
        self.assertEqual(did_you_mean("Verison", ["app", "version", "versions"]), ", did you mean version?")
        self.assertEqual(did_you_mean("port", ["app", "version"]), "")
        self.assertEqual(did_you_mean("1.3.0", ["1.2.0", "1.3.1", "9"], 3), ", did you mean 1.3.1 or 1.2.0?")

    def test_a_long_name(self) -> None:
        """A name that is too long gets no suggestion."""
        self.assertEqual(did_you_mean("a" * CHARACTERS_MAX, ["a" * CHARACTERS_MAX])[:7], ", did y")
        self.assertEqual(did_you_mean("a" * (CHARACTERS_MAX + 1), ["a" * CHARACTERS_MAX]), "")
        self.assertEqual(nearest_names("a" * (CHARACTERS_MAX + 1), ["a" * CHARACTERS_MAX], 1), [])


class Unknown(SynchronousTestCase):
    def test_none_is_near(self) -> None:
        """All fields are listed if none is similar, unless there are too many or none."""
        names = [f"field{number}" for number in range(LISTED_MAX)]
        self.assertEqual(
            unknown_field("it", "xyz", names), f"is not a field of it, whose fields are {', '.join(names)}"
        )
        self.assertEqual(unknown_field("it", "xyz", [*names, "more"]), "is not a field of it")
        self.assertEqual(unknown_field("it", "xyz", ["one", "id"]), "is not a field of it, whose fields are one")
        self.assertEqual(unknown_field("it", "xyz", []), "is not a field of it")

    def test_meta(self) -> None:
        """The message names `meta` if the object has it."""
        self.assertEqual(
            unknown_field("it", "mode", ["meta", "modes"]),
            "is not a field of it, did you mean modes? Fields of your own go into meta",
        )
        self.assertEqual(
            unknown_field("it", "x", ["meta"]),
            "is not a field of it, whose fields are meta; fields of your own go into meta",
        )


class Inside(SynchronousTestCase):
    """Fields of nested objects."""

    def test_fields_at_a_path(self) -> None:
        for path in (["one"], ["many", "[...]"], ["named", "[...]"], ["perhaps", "[...]"]):
            self.assertEqual(names_at(Whole, path), ["size"], path)
        self.assertEqual(names_at(Whole, []), ["one", "many", "named", "text", "perhaps"])
        for path in (["none"], ["none", "one"], ["text"], ["text", "[...]"], ["many"], ["one", "size"]):
            self.assertEqual(names_at(Whole, path), [], path)

    def test_what_is_sent(self) -> None:
        """The error has the outer field, and names the object with the unknown field."""
        decoder = msgspec.json.Decoder(Whole)
        for sent, field, of in (
            (b'{"one": {"sise": 1}}', "one", "one"),
            (b'{"many": [{}, {"sise": 1}]}', "many", "many"),
            (b'{"named": {"a": {"sise": 1}}}', "named", "named"),
        ):
            error = self.assertRaises(Invalid, decode_json, decoder, sent, "a whole")
            self.assertEqual(str(error), f"{field}: sise: is not a field of {of}, did you mean size?")


class Bounds(SynchronousTestCase):
    def test_a_number_out_of_range(self) -> None:
        """Limits of numbers are shown in words; other messages stay."""
        for message, words in (
            ("Expected `float` <= 2592000.0", "must be at most 2592000"),
            ("Expected `int` >= 1", "must be at least 1"),
            ("Expected `int`, got `str`", "Expected `int`, got `str`"),
        ):
            self.assertEqual(reword_bound(message), words)
