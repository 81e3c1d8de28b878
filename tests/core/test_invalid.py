"""Invalid entries and settings of peers."""

from __future__ import annotations

from bender.core.claims import Claims
from bender.core.entry_validation import VALIDITY
from bender.core.invalid_settings import KEPT_S, REMEMBERED_MAX
from bender.core.ledger import NUMBER_MAX, Claim, Head, Ledger
from bender.core.messages import ConfigSetting, Message, Sender
from bender.core.peers import Peers
from bender.core.timing import Timing
from bender.core.view import View
from tests.core.claims_case import NOW, OTHER_KEY, ClaimsCase
from tests.core.cluster import KEY, TTL_S, Cluster, update

TERMS = b'{"ttl":10.0,"weight":1,"meta":{},"registered":5,"node":"n1"}'
NEWER = TERMS.replace(b"{}", b'{"v":2}')
BAD = TERMS.replace(b'"weight":1', b'"weight":999')
WORSE = TERMS + b'}\n{"event":"offline"}'
BACKEND = b'{"id":"backend/web","resource":"Backend","name":"web","app":"web","version":"1.0"}'

BAD_PROBLEM = "its weight is 999, not 0 to 256"
WORSE_PROBLEM = "its body is not an object of JSON in one line"


class Entries(ClaimsCase):
    """Invalid entries are in their ledger, because all copies must be equal, and nowhere else."""

    def begin(self, guard_s: float = 0.0, interval_s: float = 1.0) -> None:
        timing = Timing(interval_s, 10.0)
        self.peers = Peers("n1:1730", timing)
        self.view = View()
        self.claims = Claims(1, timing, self.peers, self.view, NOW, guard_s=guard_s, validity=VALIDITY)
        self.others: dict[int, Ledger] = {}
        self.hear(2)

    def remove(self, n: int) -> None:
        self.others[2].remove(n)
        self.join(2)

    def refresh(self, *keys: str) -> None:
        for key in keys:
            self.claims.refresh(key, NOW)

    def test_in_the_ledger_alone(self) -> None:
        """An invalid claim is not in the index and causes no event, and the copy of its ledger is complete."""
        self.tell(2, body=BAD)
        self.refresh(KEY)
        self.assertEqual((self.claims.copies.head(2), len(self.claims.ledgers[2].entries)), (self.others[2].head, 1))
        self.assertEqual((self.claims.index.entries(KEY), self.view.listed_keys(), self.happened()), ((), [], []))
        self.assertIsNone(self.claims.winner(KEY, NOW))
        self.assertFalse(self.claims.deregister(KEY, NOW))
        self.assertEqual(self.claims.copies.invalid_entries, {2: (1, BAD_PROBLEM)})

    def test_any_key(self) -> None:
        """Claims and ends with any invalid key are ignored."""
        for guard_s in (0.0, 60.0):
            self.begin(guard_s)
            for key in ("x", "", "registration", "a/b/c", "registration/web/1.0/h/080"):
                self.tell(2, key, TERMS)
                self.end(2, (2, 1), key=key)
                self.refresh(key)
                self.assertEqual(self.claims.index.entries(key), ())
            self.assertEqual(len(self.claims.ledgers[2].entries), 10)
            self.assertEqual(self.claims.copies.invalid_entries[2][0], 10)
            self.claims.hide(NOW + 100.0)
            while self.claims.settle(NOW + 100.0):
                pass
            self.assertEqual(self.view.known_keys(), [])

    def test_beside_others(self) -> None:
        """An invalid claim does not hide the valid claims of its key."""
        self.hear(3)
        self.tell(3, body=TERMS)
        self.tell(2, body=BAD, rev=9, root=(3, 1))
        self.refresh(KEY)
        claim = self.claims.listed_claim(KEY)
        self.assertEqual(claim and (claim.node, claim.body), (3, TERMS))
        self.claims.register(KEY, update(NEWER, TTL_S), NOW)
        self.assertEqual([entry.rev for entry in self.own()], [2])

    def test_end_of_a_valid_key(self) -> None:
        """An end with a valid key is valid, and ends its claims."""
        self.tell(2, body=TERMS)
        self.refresh(KEY)
        self.end(2, (2, 1))
        self.refresh(KEY)
        self.assertEqual(self.happened(), [("online", "registered"), ("offline", "deregistered")])
        self.assertEqual(self.claims.copies.invalid_entries, {})

    def test_counted(self) -> None:
        """The number of invalid entries of a node is known, with the problem of the last one."""
        self.tell(2, body=BAD)
        self.tell(2, OTHER_KEY, WORSE)
        self.tell(2, OTHER_KEY + "1", TERMS)
        self.hear(3)
        self.tell(3, body=BAD)
        self.assertEqual(self.claims.copies.invalid_entries, {2: (2, WORSE_PROBLEM), 3: (1, BAD_PROBLEM)})

    def test_removed(self) -> None:
        """The problem is over when the last invalid entry is removed; valid entries are not affected."""
        for key, body in ((KEY, BAD), (OTHER_KEY, TERMS), (OTHER_KEY + "1", WORSE)):
            self.tell(2, key, body)
        self.refresh(OTHER_KEY)
        self.remove(2)
        self.refresh(OTHER_KEY)
        self.assertEqual(self.happened(OTHER_KEY)[-1], ("offline", "expired"))
        self.assertEqual((self.claims.copies.invalid_entries, len(self.claims.index)), ({2: (2, WORSE_PROBLEM)}, 0))
        self.remove(1)
        self.assertEqual(self.claims.copies.invalid_entries, {2: (1, WORSE_PROBLEM)})
        self.remove(3)
        self.assertEqual(self.claims.copies.invalid_entries, {})

    def test_forgotten(self) -> None:
        """The problem is over when the node is forgotten."""
        self.tell(2, body=BAD)
        self.tell(2, OTHER_KEY, TERMS)
        self.tell(2, "x", TERMS)
        peer = self.peers.get(2)
        assert peer is not None
        self.peers.forget(peer)
        self.claims.forget(peer)
        while self.claims.settle(NOW):
            pass
        self.assertEqual((self.claims.copies.invalid_entries, len(self.claims.index)), ({}, 0))

    def test_started_over(self) -> None:
        """An entry that takes the place of another one is checked again; an equal one is counted once."""
        self.tell(2, body=BAD)
        self.tell(2, OTHER_KEY, BAD)
        self.tell(2, OTHER_KEY + "1", TERMS)
        self.claims.ledgers[2].start_over()
        other = Ledger(2)
        for key, body in ((KEY, BAD), (OTHER_KEY, TERMS), (OTHER_KEY + "1", WORSE)):
            other.add(Claim(2, other.next_n, key, body, TTL_S, 1, 2, other.next_n))
        self.claims.join(other.delta(self.claims.copies.head(2)))
        self.assertEqual(self.claims.copies.invalid_entries, {2: (2, WORSE_PROBLEM)})
        self.assertEqual([len(self.claims.index.entries(key)) for key in (KEY, OTHER_KEY, OTHER_KEY + "1")], [0, 1, 0])

    def test_copies(self) -> None:
        """A copy of an invalid claim is invalid."""
        self.hear(3)
        of = self.tell(2, body=BAD)
        ledger = Ledger(3)
        ledger.add(Claim(3, 1, of.key, of.body, of.ttl_s, of.rev, *of.root))
        delta = ledger.delta(Head())
        self.claims.join(type(delta)(3, 0, 0, 1, 1, (of.copied_by(3, 1),)))
        self.assertEqual(self.claims.ledgers[3].entries[1], ledger.entries[1])
        self.assertEqual(self.claims.copies.invalid_entries[3], (1, BAD_PROBLEM))
        self.assertEqual(self.claims.index.entries(KEY), ())

    def test_never_copied(self) -> None:
        """A claim of this node is not sent as a copy of an invalid claim."""
        self.tell(2, body=BAD)
        self.claims.register(KEY, update(TERMS, TTL_S), NOW)
        peer = self.hear(3)
        peer.shown_versions[2] = 1
        delta = self.claims.copies.with_copies_for(self.claims.ledger.delta(Head()), peer)
        self.assertFalse(delta.has_copies)


class Compared(ClaimsCase):
    """A copy begins again for a larger checksum only now and then, because the checksum may be false."""

    def test_at_most(self) -> None:
        """Each copy begins again at most once in eight intervals."""
        for number in (2, 3):
            self.hear(number)
            self.tell(number)
        checksum = max(self.claims.ledgers[number].checksum for number in (2, 3))

        def begun_anew(at: float) -> list[int]:
            self.claims.copies.compare({number: Head(1, 1, checksum + 1) for number in (2, 3)}, at)
            anew = [number for number in (2, 3) if not self.claims.copies.head(number).version]
            for number in anew:
                self.join(number)
            return anew

        self.assertEqual(
            [begun_anew(NOW + s) for s in (0.0, 0.1, 7.9, 8.0, 15.9, 16.0)], [[2, 3], [], [], [2, 3], [], [2, 3]]
        )

    def test_after_it_was_forgotten(self) -> None:
        """A node that was forgotten and is known again has no earlier limit."""
        peer = self.hear(2)
        self.tell(2)
        heads = {2: Head(1, 1, self.claims.ledgers[2].checksum + 1)}
        self.claims.copies.compare(heads, NOW)
        self.peers.forget(peer)
        self.claims.forget(peer)
        self.hear(2)
        self.join(2)
        self.claims.copies.compare(heads, NOW + 1.0)
        self.assertEqual(self.claims.copies.head(2), Head())


class Spread(ClaimsCase):
    """Nodes with and without the checks have equal states, though they list different registrations."""

    def setUp(self) -> None:
        self.cluster = Cluster("abc", checking="ab")

    def test_equal_states(self) -> None:
        """The nodes a and b report the invalid entry of c, pass it on, and have the same state as c."""
        self.cluster.cut = {"b"}
        self.cluster.register("c", body=BAD)
        self.cluster.register("c", OTHER_KEY, TERMS)
        self.cluster.cut = {"c"}
        self.cluster.rounds()
        self.cluster.cut = set()
        self.cluster.rounds()
        self.assertEqual(len({replica.digest() for replica in self.cluster.replicas.values()}), 1)
        self.assertEqual(
            [replica.claims.copies.head(3).version for replica in self.cluster.replicas.values()], [2, 2, 2]
        )
        self.assertEqual(self.cluster.listed(), "c")
        for name in "ab":
            self.assertEqual(self.cluster.happened(name), [])
            self.assertEqual(self.cluster.happened(name, OTHER_KEY), [("online", "registered")])
            self.assertEqual(
                self.cluster[name].invalid_input(self.cluster.now),
                {"c": f"has 1 invalid entries, which are ignored; in one, {BAD_PROBLEM}"},
            )
        self.cluster.deregister("c")
        self.assertEqual([self.cluster[name].invalid_input(self.cluster.now) for name in "abc"], [{}, {}, {}])
        self.assertEqual(self.cluster.happened("a"), [])

    def test_registered_elsewhere(self) -> None:
        """A registration of the same id at another node is listed, and can be deregistered."""
        self.cluster.register("c", body=BAD)
        self.cluster.register("a", body=TERMS)
        self.assertEqual([self.cluster.happened(name) for name in "ab"], [[("online", "registered")]] * 2)
        self.cluster.deregister("b")
        self.assertEqual(self.cluster.happened("a")[-1], ("offline", "deregistered"))


class LargestRev(ClaimsCase):
    """If a claim has the largest possible rev, a change begins another registration."""

    def setUp(self) -> None:
        self.cluster = Cluster("abc", checking="abc")
        now, claims = self.cluster.now, self.cluster["c"].claims
        claims._claim(KEY, TERMS, TTL_S, NUMBER_MAX, None, now)
        claims.refresh(KEY, now)
        self.cluster["c"].gossip.push(now)
        self.cluster.settle()

    def winners(self) -> set[tuple[bytes, int, int]]:
        claims = [replica.view.claim(KEY) for replica in self.cluster.replicas.values()]
        return {(claim.body, claim.rev, claim.root_node) for claim in claims if claim is not None}

    def test_changed(self) -> None:
        """The change is listed at all nodes without an interruption, and so is the next change."""
        self.assertEqual(self.winners(), {(TERMS, NUMBER_MAX, 3)})
        self.assertFalse(self.cluster.register("a", body=NEWER))
        self.assertEqual(self.winners(), {(NEWER, 1, 1)})
        self.cluster.renew("c")
        self.cluster.run(3)
        again = TERMS.replace(b"{}", b'{"v":3}')
        self.assertFalse(self.cluster.register("b", body=again))
        self.assertEqual(self.winners(), {(again, 1, 2)})
        for name in "abc":
            self.assertEqual({what for what, _ in self.cluster.happened(name)}, {"online", "changed"}, name)
            self.assertEqual(len(self.cluster.happened(name)), 3, name)

    def test_deregistered(self) -> None:
        """The registration can be deregistered, and registered again."""
        self.cluster.register("a", body=NEWER)
        self.assertTrue(self.cluster.deregister("b"))
        self.cluster.run(12)
        for name in "abc":
            self.assertEqual(self.cluster.happened(name)[-1], ("offline", "deregistered"))
        self.assertEqual(self.cluster.listed(), "")
        self.assertTrue(self.cluster.register("c", body=TERMS))
        self.assertEqual(self.winners(), {(TERMS, 1, 3)})

    def test_shorter_ttl(self) -> None:
        """The change may have another ttl."""
        short = TERMS.replace(b"10.0", b"5.0")
        self.cluster.register("a", body=short, ttl_s=5.0)
        self.assertEqual(self.winners(), {(short, 1, 1)})
        self.cluster.run(7)
        self.assertEqual(self.cluster.listed(), "")

    def test_the_last_that_there_is(self) -> None:
        """A change may reach the largest rev, and continues the registration."""
        self.begin()
        self.hear(2)
        self.tell(2, body=TERMS, rev=NUMBER_MAX - 1)
        self.claims.register(KEY, update(NEWER, TTL_S), NOW)
        self.assertEqual(self.own(), [Claim(1, 1, KEY, NEWER, TTL_S, NUMBER_MAX, 2, 1)])

    def test_of_a_node_that_is_not_heard(self) -> None:
        """Without a listed claim, the change begins a registration and ends none."""
        self.begin()
        self.tell(2, body=TERMS, rev=NUMBER_MAX)
        self.claims.register(KEY, update(NEWER, TTL_S), NOW)
        self.assertEqual(self.own(), [Claim(1, 1, KEY, NEWER, TTL_S, 1, 1, 1)])

    def test_no_change(self) -> None:
        """A renewal continues the registration."""
        self.cluster.register("a", body=TERMS)
        self.cluster.renew("b")
        self.assertEqual(self.winners(), {(TERMS, NUMBER_MAX, 3)})
        self.assertEqual(self.cluster.happened("a"), [("online", "registered")])


class Settings(ClaimsCase):
    """Invalid settings of peers are ignored."""

    def setUp(self) -> None:
        self.cluster = Cluster("abc", checking="ab")

    def bring(self, setting: ConfigSetting, address: str = "c", incarnation: int = 3) -> None:
        message = Message(Sender(incarnation, "c", address), settings=(setting,))
        self.cluster["a"].receive(self.cluster.now, message)

    def test_left_out(self) -> None:
        """An invalid setting is ignored and reported for a minute; others in the same message are accepted."""
        a, now = self.cluster["a"], self.cluster.now
        good = ConfigSetting("backend/web", 1, 3, 0, "ops", BACKEND)
        a.receive(now, Message(Sender(3, "c", "c"), settings=(ConfigSetting("x", 1, 3, 0, "ops", b"{}"), good)))
        self.assertEqual(([*a.configuration], a.settings("backend")), (["backend/web"], [good]))
        problem = "sends an invalid setting, which is ignored: its key 'x' is not that of a setting"
        self.assertEqual((a.invalid_input(now), a.invalid_input(now + KEPT_S - 0.1)), ({"c": problem}, {"c": problem}))
        self.assertEqual((KEPT_S, a.invalid_input(now + 60.0)), (60.0, {}))

    def test_other_kinds(self) -> None:
        """Settings of kinds of a later release are kept, passed on, and not shown."""
        self.bring(ConfigSetting("policy/x", 1, 3, 0, "ops", b"anything"))
        self.cluster.rounds()
        for name in "ab":
            self.assertIn("policy/x", self.cluster[name].configuration)
            self.assertIsNone(self.cluster[name].setting("policy/x"))
            self.assertEqual((self.cluster[name].settings("policy"), self.cluster.events[name]), ([], []))
            self.assertEqual(self.cluster[name].invalid_input(self.cluster.now), {})

    def test_agreement_with_the_rest(self) -> None:
        """A node is ready within a round although its peer has an invalid setting, and has all other settings."""
        self.cluster["c"].configuration.join(ConfigSetting("x", 1, 3, 0, "ops", b"{}"), 0.0)
        self.cluster["c"].configure(self.cluster.now, "backend/web", BACKEND, "ops", 0)
        self.cluster.settle()
        self.cluster.checking += "z"
        replica = self.cluster.start("z", 26, "c")
        self.cluster.rounds()
        self.cluster.run(1)
        self.assertEqual((replica.is_ready, len(replica.settings("backend"))), (True, 1))

    def test_many_addresses(self) -> None:
        """At most a hundred addresses are remembered, and addresses whose time is over leave room."""
        a = self.cluster["a"]
        for i in range(REMEMBERED_MAX + 50):
            self.bring(ConfigSetting("x", 1, 3, 0, "ops", b"{}"), f"c{i}")
        self.assertEqual((len(a.gossip.invalid_settings), REMEMBERED_MAX), (100, 100))
        self.cluster.now += KEPT_S
        self.bring(ConfigSetting("x", 1, 3, 0, "ops", b"{}"), "d")
        self.assertEqual([*a.invalid_input(self.cluster.now)], ["d"])
        self.assertLessEqual(len(a.gossip.invalid_settings), 100)

    def test_again(self) -> None:
        """The time of a problem begins again with each invalid setting."""
        a = self.cluster["a"]
        for i in range(REMEMBERED_MAX):
            self.bring(ConfigSetting("x", 1, 3, 0, "ops", b"{}"), f"c{i}")
        self.cluster.now += 30.0
        self.bring(ConfigSetting("y", 1, 3, 0, "ops", b"{}"), "c7")
        self.assertEqual([*a.invalid_input(self.cluster.now + 31.0)], ["c7"])
        self.assertIn("'y'", a.invalid_input(self.cluster.now + 31.0)["c7"])
