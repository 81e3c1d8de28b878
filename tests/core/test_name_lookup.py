"""Names that are found without regard to case, and the endings of names with dots."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.core.name_lookup import ENDINGS_MAX, NameLookup


class Lookups(SynchronousTestCase):
    def setUp(self) -> None:
        self.names: set[str] = set()
        self.lookup = NameLookup(self.names.__contains__)

    def add(self, *names: str) -> None:
        for name in names:
            self.names.add(name)
            self.lookup.add(name)

    def discard(self, name: str) -> None:
        self.names.discard(name)
        self.lookup.discard(name)

    def test_case(self) -> None:
        """ASCII letters are compared without case; other letters keep theirs."""
        self.add("web", "Shop", "ÜBER")
        found = [self.lookup.find(name) for name in ("web", "shop", "Über", "über", "nothing")]
        self.assertEqual(found, ["web", "Shop", "ÜBER", None, None])

    def test_several(self) -> None:
        """The name in lower case is found before others; otherwise the first name in order is found."""
        self.add("Web", "WEB")
        self.assertEqual(self.lookup.find("web"), "WEB")
        self.add("web")
        self.assertEqual(self.lookup.find("web"), "web")
        self.discard("web")
        self.discard("WEB")
        self.assertEqual(self.lookup.find("web"), "Web")
        self.discard("Web")
        self.assertIsNone(self.lookup.find("web"))

    def test_first_of_several(self) -> None:
        """The first name in order is found after any additions and removals."""
        for name in ("Web", "wEb", "WEB"):
            self.lookup.add(name)
            self.assertEqual(self.lookup.find("web"), min("Web", name))
        self.lookup.discard("WEB")
        self.assertEqual(self.lookup.find("web"), "Web")
        self.lookup.discard("Web")
        self.assertEqual(self.lookup.find("web"), "wEb")
        self.lookup.discard("wEb")
        self.assertIsNone(self.lookup.find("web"))

    def test_many_dots(self) -> None:
        """A name with many dots has a limited number of endings, and is removed completely."""
        name = "a." * 126 + "web"
        self.lookup.add(name)
        self.assertEqual(len(self.lookup._endings), ENDINGS_MAX)
        self.assertTrue(self.lookup.is_ending("a.web"))
        self.lookup.discard(name)
        self.assertEqual(self.lookup._endings, {})

    def test_endings(self) -> None:
        """The endings of a name with dots are known as long as the name exists."""
        self.add("a.Web.api", "b.api", ".x")
        self.assertEqual(
            [name for name in ("api", "web.api", "a.web.api", "b.api", "x", "", "a") if self.lookup.is_ending(name)],
            ["api", "web.api", "x"],
        )
        self.discard("a.Web.api")
        self.assertTrue(self.lookup.is_ending("api"))
        self.discard("b.api")
        self.assertFalse(self.lookup.is_ending("api"))

    def test_version(self) -> None:
        """The version differs after each change."""
        versions = [self.lookup.version]
        for change in (self.add, self.discard, self.add):
            change("web")
            versions.append(self.lookup.version)
        self.assertEqual(len({*versions}), 4)

    def test_long_names(self) -> None:
        """Names are measured in bytes."""
        self.add(62 * "x", 63 * "x", 32 * "ü")
        self.assertEqual([*self.lookup.long_names], [63 * "x", 32 * "ü"])
        self.discard(63 * "x")
        self.assertEqual([*self.lookup.long_names], [32 * "ü"])
