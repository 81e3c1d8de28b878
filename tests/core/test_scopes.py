"""Scopes: what each permits, and how mistakes in them are reported."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.core.scopes import ALL_SCOPES, GLOB_CHARACTERS_MAX, GLOB_STARS_MAX, Scopes, parse_scopes

KINDS = "read, configure, admin or register:APP, where APP may have * and ?"


class Permissions(SynchronousTestCase):
    def permits(self, *written: str) -> tuple[bool, bool, bool, bool]:
        """Return whether scopes permit reading, configuring, registering `web-shop`, and registering `api`."""
        scopes = Scopes(written)
        return scopes.may_read, scopes.may_configure, scopes.may_register("web-shop"), scopes.may_register("api")

    def test_each_scope_is_for_itself_alone(self) -> None:
        """A scope does not include others: a token with `configure` may not read, for instance."""
        self.assertEqual(self.permits(), (False, False, False, False))
        self.assertEqual(self.permits("read"), (True, False, False, False))
        self.assertEqual(self.permits("configure"), (False, True, False, False))
        self.assertEqual(self.permits("register:web-*"), (False, False, True, False))
        self.assertEqual(self.permits("read", "register:api"), (True, False, False, True))

    def test_admin_is_for_everything(self) -> None:
        """`admin` permits everything, and is what a node without tokens gives to all clients."""
        self.assertEqual(self.permits("admin"), (True, True, True, True))
        self.assertEqual(ALL_SCOPES, Scopes(("admin",)))

    def test_only_admin_is_called_admin(self) -> None:
        """All other scopes together are less, because scopes may be added later."""
        self.assertTrue(Scopes(("admin",)).is_admin)
        self.assertFalse(Scopes(("read", "configure", "register:*")).is_admin)

    def test_a_scope_for_an_app_called_like_another_scope(self) -> None:
        """`register:admin` is for the app `admin`, and for nothing else."""
        scopes = Scopes(("register:admin", "register:read"))
        self.assertEqual((scopes.is_admin, scopes.may_read, scopes.may_configure), (False, False, False))
        self.assertTrue(scopes.may_register("admin"))

    def test_some_app_and_all_apps(self) -> None:
        """Requests with apps in their body are refused before the body is read, or need no check of it."""
        for written, some, every in (
            (("read", "configure"), False, False),
            (("register:web-*",), True, False),
            (("register:**",), True, False),
            (("register:web-*", "register:*"), True, True),
            (("admin",), True, True),
        ):
            scopes = Scopes(written)
            self.assertEqual((scopes.may_register_some, scopes.may_register_all), (some, every), written)


class Patterns(SynchronousTestCase):
    def test_what_matches(self) -> None:
        """A star matches any text, also none; a question mark matches one character."""
        for glob, app, matches in (
            ("web", "web", True),
            ("web", "web2", False),
            ("web", "aweb", False),
            ("web", "Web", False),
            ("web-*", "web-", True),
            ("web-*", "web", False),
            ("*-web", "old-web", True),
            ("w*b", "wb", True),
            ("web?", "web1", True),
            ("web?", "web", False),
            ("*", "anything at all", True),
            ("web.api", "web-api", False),
            ("web*", "web\n", True),
        ):
            self.assertIs(Scopes((f"register:{glob}",)).may_register(app), matches, (glob, app))

    def test_brackets_are_themselves(self) -> None:
        """Brackets have no special meaning, so that a pattern matches only apps that it seems to name."""
        scopes = Scopes(("register:web-[ab]", "register:[!x]"))
        for app, matches in (("web-[ab]", True), ("[!x]", True), ("web-a", False), ("a", False)):
            self.assertIs(scopes.may_register(app), matches, app)

    def test_any_of_several(self) -> None:
        scopes = Scopes(("register:web", "read", "register:api-*"))
        self.assertEqual(scopes.globs, ["web", "api-*"])
        self.assertTrue(scopes.may_register("web"))
        self.assertTrue(scopes.may_register("api-1"))
        self.assertFalse(scopes.may_register("read"))


class Parsing(SynchronousTestCase):
    def refused(self, *texts: object) -> str:
        return str(self.assertRaises(ValueError, parse_scopes, texts))

    def test_valid_scopes(self) -> None:
        """Scopes stay in order, each once, and are shown as they were written."""
        scopes = parse_scopes(["read", "register:web-*", "configure", "read", "admin"])
        self.assertEqual(scopes, Scopes(("read", "register:web-*", "configure", "admin")))
        self.assertEqual(str(scopes), "read, register:web-*, configure, admin")

    def test_unknown_scopes(self) -> None:
        """The clause names the nearest scope, or all of them if none is near."""
        self.assertEqual(self.refused("read", "raed"), "'raed' is not a scope, did you mean read?")
        self.assertEqual(self.refused("registr:web"), "'registr:web' is not a scope, did you mean register?")
        self.assertEqual(self.refused("Admin"), "'Admin' is not a scope, did you mean admin?")
        self.assertEqual(self.refused("everything"), f"'everything' is not a scope: a scope is {KINDS}")
        self.assertEqual(self.refused(""), f"'' is not a scope: a scope is {KINDS}")
        self.assertEqual(self.refused("read", 7), f"7 is not a scope: a scope is {KINDS}")
        self.assertEqual(self.refused(["read"]), f"['read'] is not a scope: a scope is {KINDS}")

    def test_scopes_for_no_app(self) -> None:
        """A pattern that no name of an app can match is a mistake."""
        for glob in ("", "web/1", "web\n", "a" * (GLOB_CHARACTERS_MAX + 1)):
            self.assertEqual(
                self.refused(f"register:{glob}"),
                f"{f'register:{glob}'!r}: the name of an app, or a pattern, must follow 'register:': 1 to 255 "
                "printable characters without /",
            )
        self.assertIn("'register' is not a scope", self.refused("register"))
        for glob in ("a", "a" * GLOB_CHARACTERS_MAX):
            self.assertTrue(parse_scopes([f"register:{glob}"]).may_register(glob))

    def test_patterns_that_would_take_long(self) -> None:
        """The number of stars is limited."""
        most = "*a" * GLOB_STARS_MAX
        self.assertEqual(parse_scopes([f"register:{most}"]).globs, [most])
        self.assertEqual(self.refused(f"register:{most}*"), f"'register:{most}*' has more than 8 stars")
