"""The listed registrations and settings, whose changes are events with a reason."""

from __future__ import annotations

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from bender.core.ledger import Claim, End, Entry
from bender.core.messages import ConfigSetting
from bender.core.registration_status import USUAL, RegistrationStatus, status_of
from bender.core.view import View, ViewEvent, sorted_claims

KEY = "registration/web/1.0/10.0.0.5/80"


def claim(node: int = 1, n: int = 1, rev: int = 1, body: bytes = b"{}", key: str = KEY) -> Claim:
    return Claim(node, n, key, body, 10.0, rev, node, n)


def end(*claims: Claim) -> End:
    return End(5, 1, KEY, 18.0, 1, tuple(each.root for each in claims))


class RegistrationTests(SynchronousTestCase):
    """Registrations begin, change and end."""

    def setUp(self) -> None:
        self.view = View()

    def show(self, winner: Claim | None, *entries: Entry) -> list[ViewEvent]:
        self.view.show(KEY, winner, entries)
        return self.view.take_events()

    def test_registered(self) -> None:
        """A registration that is shown for the first time is `registered`."""
        one = claim()
        self.assertEqual(self.show(one, one), [ViewEvent("online", KEY, b"{}", "registered")])
        self.assertEqual((self.view.count, self.view.listed_keys()), (1, [KEY]))

    def test_unchanged(self) -> None:
        """Another claim of the same body is not an event."""
        one, other = claim(), claim(2)
        self.show(one, one)
        self.assertEqual(self.show(other, one, other), [])
        self.assertEqual(self.show(other, one, other), [])
        self.assertEqual(self.view.claim(KEY), other)

    def test_changed(self) -> None:
        """Another body is a change."""
        one, other = claim(), claim(2, rev=2, body=b"new")
        self.show(one, one)
        self.assertEqual(self.show(other, one, other), [ViewEvent("changed", KEY, b"new", "registered")])

    def test_changed_back(self) -> None:
        """If the larger claim is gone, the change has the reason of its end."""
        one, other = claim(), claim(2, rev=2, body=b"new")
        self.show(other, one, other)
        self.assertEqual(self.show(one, one), [ViewEvent("changed", KEY, b"{}", "expired")])

    def test_names(self) -> None:
        """The name of an app is known from its first registration to its last."""
        other = KEY.replace("10.0.0.5", "10.0.0.6")
        names, one, two = self.view.app_names, claim(), claim(n=2, key=other)
        self.show(one, one)
        self.view.show(other, two, [two])
        self.assertEqual((names.find("web"), names.version), ("web", 1))
        self.show(None)
        self.assertEqual((names.find("web"), names.version), ("web", 1))
        self.view.show(other, None, [])
        self.assertEqual((names.find("web"), names.version), (None, 2))

    def test_expired(self) -> None:
        """A registration without claims has expired."""
        one = claim()
        self.show(one, one)
        self.assertEqual(self.show(None), [ViewEvent("offline", KEY, b"{}", "expired")])
        self.assertEqual((self.view.count, self.view.groups(), self.view.groups("web")), (0, [], []))

    def test_deregistered(self) -> None:
        """A registration that an end names was deregistered, with or without remaining claims."""
        one = claim()
        self.show(one, one)
        self.assertEqual(self.show(None, end(one), one), [ViewEvent("offline", KEY, b"{}", "deregistered")])

    def test_deregistered_because_a_check_failed(self) -> None:
        """The reason is `check-failed` if all ends have it; an unknown reason is ignored."""
        one = claim()
        failed, plain = replace(end(one), reason="check-failed"), end(one)
        for ends, reason in (
            ((failed,), "check-failed"),
            ((failed, failed), "check-failed"),
            ((failed, plain), "deregistered"),
            ((replace(plain, reason="of a later release"),), "deregistered"),
        ):
            self.show(one, one)
            self.assertEqual([event.reason for event in self.show(None, *ends, one)], [reason])

    def test_node_lost(self) -> None:
        """A registration whose claims do not count is lost with its nodes."""
        one = claim()
        self.show(one, one)
        self.assertEqual(self.show(None, one), [ViewEvent("offline", KEY, b"{}", "node-lost")])

    def test_changed_out_of_hearing(self) -> None:
        """A registration is also lost if only claims of another registration are left, which do not count."""
        one, other = claim(), claim(2, rev=2, body=b"new")
        self.show(one, one)
        self.assertEqual(self.show(None, other), [ViewEvent("offline", KEY, b"{}", "node-lost")])

    def test_expired_beside_an_end(self) -> None:
        """A claim that was ended does not affect another one that has expired."""
        one, ended = claim(), claim(2)
        self.show(one, one)
        self.assertEqual(self.show(None, end(ended), ended), [ViewEvent("offline", KEY, b"{}", "expired")])

    def test_restored(self) -> None:
        """A lost registration that is heard again is restored."""
        one = claim()
        self.show(one, one)
        self.show(None, one)
        self.assertEqual(self.show(one, one), [ViewEvent("online", KEY, b"{}", "restored")])

    def test_registered_anew_after_a_loss(self) -> None:
        """A lost key with a new registration is registered, and not restored."""
        one, anew = claim(), claim(2, rev=2)
        self.show(one, one)
        self.show(None, one)
        self.assertEqual(self.show(anew, one, anew), [ViewEvent("online", KEY, b"{}", "registered")])

    def test_lost_and_expired(self) -> None:
        """A registration that expired while it was lost is not restored later."""
        one = claim()
        self.show(one, one)
        self.show(None, one)
        self.assertEqual(self.show(None), [])
        self.assertEqual(self.show(one, one), [ViewEvent("online", KEY, b"{}", "registered")])

    def test_never_shown(self) -> None:
        """A registration that was not shown has no event at its end."""
        self.assertEqual(self.show(None), [])


class ListingTests(SynchronousTestCase):
    """Listings are by app and version, in order of id."""

    def setUp(self) -> None:
        self.view = View()
        for key in (
            "registration/web/2/b/80",
            "registration/web/1/b/80",
            "registration/web/1/a/80",
            "registration/api/1/a/80",
        ):
            self.view.show(key, claim(key=key, body=key.encode()), ())

    def keys(self, *of: str | None) -> list[str]:
        return [claim.key for group in self.view.groups(*of) for claim in sorted_claims(group)]

    def test_all(self) -> None:
        """Without an app, all registrations are listed."""
        self.assertEqual(
            self.keys(),
            [
                "registration/api/1/a/80",
                "registration/web/1/a/80",
                "registration/web/1/b/80",
                "registration/web/2/b/80",
            ],
        )

    def test_app(self) -> None:
        """All versions of an app are listed."""
        self.assertEqual(
            self.keys("web"), ["registration/web/1/a/80", "registration/web/1/b/80", "registration/web/2/b/80"]
        )

    def test_version(self) -> None:
        """One version of an app is listed."""
        self.assertEqual(self.keys("web", "1"), ["registration/web/1/a/80", "registration/web/1/b/80"])

    def test_version_of_any_app(self) -> None:
        """One version of all apps is listed."""
        found = self.keys(None, "1")
        self.assertEqual(found, ["registration/api/1/a/80", "registration/web/1/a/80", "registration/web/1/b/80"])

    def test_stamps(self) -> None:
        """A change gives a new stamp to all and to its app; another claim of the same body does not."""
        before, web, api = self.view.stamp(), self.view.stamp("web"), self.view.stamp("api")
        same = claim(node=2, rev=2, key="registration/web/1/a/80", body=b"registration/web/1/a/80")
        self.view.show(same.key, same, ())
        self.assertEqual((self.view.stamp(), self.view.stamp("web")), (before, web))
        self.view.show(same.key, claim(rev=3, key=same.key, body=b"{}"), ())
        self.assertNotIn(self.view.stamp(), (before,))
        self.assertNotIn(self.view.stamp("web"), (web,))
        self.assertEqual(self.view.stamp("api"), api)
        self.assertEqual(self.view.stamp("db"), 0)

    def test_names_that_begin_alike(self) -> None:
        """The order is that of whole ids, in which `-` is before `/`."""
        for key in ("registration/web-b/1/a/80", "registration/web/1-1/a/80"):
            self.view.show(key, claim(key=key, body=key.encode()), ())
        self.assertEqual(self.keys(), sorted(self.keys()))

    def test_none(self) -> None:
        """An absent app or version has an empty list."""
        self.assertEqual((self.keys("web", "3"), self.keys("db"), self.keys("db", "1")), ([], [], []))

    def test_last_of_a_version(self) -> None:
        """When the last registration of a version ends, those of other versions stay."""
        self.view.show("registration/web/2/b/80", None, ())
        self.assertEqual(self.keys("web"), ["registration/web/1/a/80", "registration/web/1/b/80"])


class CountTests(SynchronousTestCase):
    """The number of registrations, and their keys."""

    def setUp(self) -> None:
        self.view = View()
        self.keys = [f"registration/{group}/10.0.0.{i}/80" for i, group in enumerate(("a/1", "a/1", "a/2", "b/1"))]
        for key in self.keys:
            self.view.show(key, claim(key=key), ())

    def test_count(self) -> None:
        counts = [self.view.count_of(*of) for of in ((), ("a",), ("a", "1"), (None, "1"), ("c",))]
        self.assertEqual(counts, [4, 3, 2, 3, 0])

    def test_members(self) -> None:
        self.assertEqual((self.view.member_keys("a"), self.view.member_keys("c")), (self.keys[:3], []))

    def test_known(self) -> None:
        """A hidden registration is still known."""
        self.view.show(self.keys[0], None, (), lost=True)
        self.assertEqual(
            (self.view.known_keys(), self.view.listed_keys()), ([*self.keys[1:], self.keys[0]], self.keys[1:])
        )
        self.assertEqual([self.view.hidden_root(key) for key in self.keys[:2]], [(1, 1), None])

    def test_stamps(self) -> None:
        """Each change gives a new stamp, also an end or another state."""
        stamps = [self.view.stamp("a")]
        self.view.show(self.keys[0], None, ())
        stamps.append(self.view.stamp("a"))
        self.view.configure("state/a/1/10.0.0.1/80", ConfigSetting("state", 1, 1, 0, "ops", b"drain", 60.0))
        stamps.append(self.view.stamp("a"))
        self.assertEqual((len({*stamps}), self.view.stamp()), (3, stamps[-1]))

    def test_nothing_left(self) -> None:
        """An app without registrations, and an expired registration, leave nothing behind."""
        self.view.show(self.keys[3], None, ())
        self.assertEqual((self.view.stamp("b"), self.view.hidden_root(self.keys[3])), (0, None))

    def test_first_stamp(self) -> None:
        """The first stamp is 0."""
        self.assertEqual((View().stamp(), self.view.stamp("c")), (0, 0))


class StandingTests(SynchronousTestCase):
    """The status of a registration beside its terms."""

    def setUp(self) -> None:
        self.view = View()
        self.view.show(KEY, claim(), ())
        self.view.take_events()

    def set(self, state: bytes | None, key: str = "state/web/1.0/10.0.0.5/80") -> list[ViewEvent]:
        self.view.configure(key, None if state is None else ConfigSetting(key, 1, 1, 0, "ops", state, 60.0))
        return self.view.take_events()

    def show(self, winner: Claim | None, *entries: Entry, lost: bool = False, suspect: bool = False) -> list[ViewEvent]:
        self.view.show(KEY, winner, entries, lost=lost, suspect=suspect)
        return self.view.take_events()

    def event(self, what: str, reason: str, status: RegistrationStatus) -> ViewEvent:
        return ViewEvent(what, KEY, b"{}", reason, status)  # type: ignore[arg-type]

    def test_word(self) -> None:
        """An operator's state is announced once, as a change, and is not shown as a setting."""
        drained = status_of("drain", suspect=False)
        self.assertEqual(self.set(b"drain"), [self.event("changed", "configured", drained)])
        self.assertEqual((self.set(b"drain"), self.view.setting("state/web/1.0/10.0.0.5/80")), ([], None))
        self.assertEqual((self.view.status(KEY), self.view.statuses()), (drained, {KEY: drained}))
        self.assertIn(b'"state":"drain"', self.view.registration(claim()))
        self.assertEqual(self.set(None), [self.event("changed", "configured", USUAL)])
        self.assertEqual(self.view.statuses(), {})

    def test_word_on_what_is_not_shown(self) -> None:
        """The state of an absent registration is kept."""
        self.assertEqual(self.set(b"maint", "state/web/1.0/10.0.0.9/80"), [])
        self.assertEqual([*self.view.statuses()], ["registration/web/1.0/10.0.0.9/80"])

    def test_all_up(self) -> None:
        """A version is all up if no registration of it has another state."""
        self.assertTrue(self.view.all_up("web", "1.0"))
        other = KEY.replace("10.0.0.5", "10.0.0.6")
        self.view.show(other, claim(key=other), ())
        self.set(b"drain")
        self.assertEqual([self.view.all_up("web", version) for version in ("1.0", "2.0")], [False, True])
        self.set(b"maint", "state/api/1.0/10.0.0.9/80")
        self.set(None)
        self.assertTrue(self.view.all_up("web", "1.0"))

    def test_suspect(self) -> None:
        """A registration that becomes suspect is a change, once, and so is the end of this."""
        suspect, one = status_of("up", suspect=True), claim()
        self.show(one)
        self.assertEqual(self.show(one, suspect=True), [self.event("changed", "node-lost", suspect)])
        self.assertEqual(self.show(one, suspect=True), [])
        self.assertEqual(self.show(one), [self.event("changed", "restored", USUAL)])

    def test_suspect_is_gone(self) -> None:
        """A registration that is gone is not suspect, and keeps its operator's state."""
        one = claim()
        self.set(b"drain")
        self.show(one, suspect=True)
        gone = self.show(None, lost=True)
        self.assertEqual(gone, [self.event("offline", "node-lost", status_of("drain", suspect=True))])
        self.assertEqual(self.view.status(KEY), status_of("drain", suspect=False))

    def test_changed_back_beside_an_end(self) -> None:
        """The reason of a change is that of the claim that no longer speaks, and not of other claims."""
        first, second, third = claim(), claim(2, rev=2, body=b"new"), claim(3, rev=1, body=b"old")
        self.show(second, first, second)
        self.assertEqual([event.reason for event in self.show(first, first, third, end(second))], ["deregistered"])
        self.show(second, first, second)
        self.assertEqual([event.reason for event in self.show(first, first, second)], ["node-lost"])
        self.show(second, first, second)
        self.assertEqual([event.reason for event in self.show(first, first, third)], ["expired"])


class SettingTests(SynchronousTestCase):
    """Settings are created, changed and removed."""

    def setUp(self) -> None:
        self.view = View()

    def configure(self, body: bytes | None, rev: int = 1) -> list[ViewEvent]:
        self.view.configure("backend/b", ConfigSetting("backend/b", rev, 1, 0, "ops", body))
        return self.view.take_events()

    def test_created(self) -> None:
        """The first setting of a key is `created`."""
        self.assertEqual(self.configure(b"1"), [ViewEvent("created", "backend/b", b"1", "configured")])
        self.assertEqual([each.key for each in self.view.settings("backend")], ["backend/b"])
        self.assertEqual(self.view.settings("frontend"), [])

    def test_changed(self) -> None:
        """Another body is `changed`, and the same body is not an event."""
        self.configure(b"1")
        self.assertEqual(self.configure(b"2", 2), [ViewEvent("changed", "backend/b", b"2", "configured")])
        self.assertEqual(self.view.setting("backend/b"), ConfigSetting("backend/b", 2, 1, 0, "ops", b"2"))
        self.assertEqual(self.configure(b"2", 3), [])

    def test_names(self) -> None:
        """The names of backends are those of present settings, and not those of frontends."""
        names, versions = self.view.backend_names, [0]
        for body in (b"1", b"2", None, None, b"3"):
            self.configure(body, len(versions))
            self.view.configure("frontend/f", ConfigSetting("frontend/f", len(versions), 1, 0, "ops", body))
            self.assertEqual(names.find("b"), None if body is None else "b")
            self.assertIsNone(names.find("f"))
            versions.append(names.version)
        self.assertEqual(versions, [0, 1, 1, 2, 2, 3])

    def test_removed(self) -> None:
        """A removal is `removed`, once, with the former body."""
        self.configure(b"1")
        self.assertEqual(self.configure(None, 2), [ViewEvent("removed", "backend/b", b"1", "configured")])
        self.assertEqual(self.configure(None, 3), [])
        self.assertIsNone(self.view.setting("backend/b"))
