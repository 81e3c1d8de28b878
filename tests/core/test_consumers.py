"""The confirmations and reports of consumers, and their limits."""

from __future__ import annotations

from msgspec import ValidationError, convert, to_builtins
from msgspec.json import encode
from twisted.trial.unittest import SynchronousTestCase

from bender.core.consumers import (
    REPORT_BYTES_MAX,
    REPORTED_MAX,
    AwaitedChange,
    Confirmation,
    ConsumerState,
    Counted,
    Report,
    digest_of,
    labels,
    parse_confirmation,
    parse_instance,
    same_name_problem,
    shared_names,
)
from bender.core.invalid import Invalid


def confirmation(requests: int = 0, errors: int = 0, name: str = "b") -> bytes:
    counts = {name: {"1": {"requests": requests, "errors": errors}}}
    return encode({"cursor": "c", "report": {"down": [], "backends": counts}})


class Confirming(SynchronousTestCase):
    def test_parsed(self) -> None:
        """Counts are from 0 to 2**53, and a name has at least one character."""
        for requests in (0, 2**53):
            report = Report((), {"b": {"1": Counted(requests, 0)}})
            self.assertEqual(parse_confirmation(confirmation(requests)), Confirmation("c", report))
        for document in (confirmation(2**53 + 1), confirmation(errors=-1), confirmation(name="")):
            self.assertRaises(Invalid, parse_confirmation, document)

    def test_limits(self) -> None:
        """A report has at most a thousand names and 60 KiB."""
        self.assertEqual((REPORTED_MAX, REPORT_BYTES_MAX), (1000, 61_440))

    def test_nothing_awaited(self) -> None:
        self.assertEqual(AwaitedChange(), AwaitedChange("", 0, 0, 0.0))


class Digests(SynchronousTestCase):
    """The digest of a setting in a report."""

    def test_of_equal_settings(self) -> None:
        """The order of fields does not matter; null fields, and fields that are no setting, do not count."""
        one = {"name": "www", "backend": "shop", "meta": {"a": 1, "b": [1.5]}}
        other = {
            "meta": {"b": [1.5], "a": 1},
            "location": "/frontends/www",
            "bind": None,
            "backend": "shop",
            "name": "www",
        }
        self.assertEqual(digest_of(one), digest_of(other))
        self.assertRegex(digest_of(one), "^[0-9a-f]{16}$")

    def test_of_others(self) -> None:
        """Another value leads to another digest; a removed setting has an empty digest."""
        one = {"name": "shop", "version": "1"}
        self.assertNotEqual(digest_of(one), digest_of(one | {"version": "2"}))
        self.assertNotEqual(digest_of(one), digest_of(one | {"meta": {}}))
        self.assertEqual(digest_of(None), "")


class Instances(SynchronousTestCase):
    """Instances distinguish consumers of one name."""

    def test_given(self) -> None:
        """An instance has letters, digits, dashes and underscores, as a parameter and in a confirmation."""
        for instance in ("5f3c2a9d51e07b64", "A-z_0", "x" * 64):
            self.assertEqual(parse_instance(instance), instance)
            said = parse_confirmation(encode({"cursor": "c", "instance": instance}))
            self.assertEqual(said, Confirmation("c", None, instance))
        for instance in ("", "x" * 65, "a b", "a\n", "a/b", "10.0.0.1", "\u00e9"):
            with self.assertRaises(Invalid) as caught:
                parse_instance(instance)
            self.assertEqual(caught.exception.field, "instance")
            self.assertRaises(Invalid, parse_confirmation, encode({"cursor": "c", "instance": instance}))

    def test_not_known(self) -> None:
        """A consumer of a node that does not know instances has an empty instance."""
        consumer = ConsumerState("edge", "n1", True, True, None, 0, 0)
        self.assertEqual((consumer.instance, consumer.age_s, consumer.idle_s), ("", 0.0, 0.0))

    def test_ages(self) -> None:
        """Ages are from 0 to thirty years."""
        for age_s, possible in ((0.0, True), (1e9, True), (-0.1, False), (1.1e9, False)):
            fields = to_builtins(ConsumerState("edge", "n1", True, True, None, 0, 0, None, "a", age_s, age_s))
            if possible:
                self.assertEqual(convert(fields, ConsumerState).idle_s, age_s)
            else:
                self.assertRaises(ValidationError, convert, fields, ConsumerState)

    def test_labels(self) -> None:
        """A label has the instance only if the name has several instances."""
        consumers = [("edge", "b"), ("edge", "a"), ("rim", "c"), ("rim", "c"), ("old", ""), ("old", "d")]
        self.assertEqual(labels(consumers), ["edge (b)", "edge (a)", "rim", "rim", "old (?)", "old (d)"])
        self.assertEqual(labels([]), [])

    def test_shared_names(self) -> None:
        """Names with several known instances are returned, in order."""
        consumers = [("rim", "a"), ("rim", "b"), ("edge", "b"), ("edge", "a"), ("one", "a"), ("one", "a"), ("old", "")]
        shared = shared_names([*consumers, ("old", "d")])
        self.assertEqual([*shared.items()], [("edge", ["a", "b"]), ("rim", ["a", "b"])])

    def test_warning(self) -> None:
        """The warning names up to five instances."""
        problem = "have the same name: give each program a name of its own"
        self.assertEqual(same_name_problem("e", ["a", "b"]), f"the consumers e (a) and e (b) {problem}")
        five = "e (a), e (b), e (c), e (d) and e (e)"
        self.assertEqual(same_name_problem("e", [*"abcde"]), f"the consumers {five} {problem}")
        self.assertEqual(
            same_name_problem("e", [*"abcdef"]), f"the consumers {five.replace(' and', ',')} and 1 more {problem}"
        )
