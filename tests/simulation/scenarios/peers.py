"""Invalid or excessive input from peers, and crowded buckets of configuration."""

from __future__ import annotations

from contextlib import suppress

from attrs import evolve

from bender.core.admin_state import key_of_state
from bender.core.gossip_targets import UNREACHED_MAX
from bender.core.last_writer_wins import (
    BUCKETS,
    DIGESTS_MAX,
    LASTING_S_MAX,
    SETTINGS_PER_KEY_MAX,
    Configuration,
    bucket_of,
)
from bender.core.ledger import NUMBER_MAX
from bender.core.messages import ConfigSetting, Counter, Message, OutgoingMessage, Sender
from bender.core.peers import PEERS_MAX
from bender.core.replica import Full
from tests.core.cluster import TTL_S
from tests.core.cluster import Cluster as ByHand
from tests.simulation.scenarios import KEY, OTHER_KEY, Lossy

TERMS = b'{"ttl":10.0,"weight":1,"meta":{},"registered":5,"node":"n1"}'
BAD = TERMS.replace(b'"weight":1', b'"weight":999')


def what_cannot_be_used_is_not_shown() -> None:
    """c has a registration with an invalid weight: a and b list c's other registrations."""
    cluster = _beside_a_peer()
    for name in "ab":
        listed = cluster[name].view.listed_keys()
        assert listed == [OTHER_KEY], f"{name} lists {listed}"


def what_cannot_be_used_is_kept_and_passed_on() -> None:
    """All copies of c's ledger stay equal, because otherwise nodes would request it for ever."""
    cluster = _beside_a_peer()
    checksums = {replica.claims.ledgers[3].checksum for replica in cluster.replicas.values()}
    assert len(checksums) == 1, f"there are {len(checksums)} copies of one version"


def what_cannot_be_used_leaves_with_its_node() -> None:
    """No node reports the invalid entry any more after c is forgotten."""
    cluster = _beside_a_peer()
    cluster.cut = {"c"}
    cluster.run(700)
    assert not cluster["a"].claims.copies.invalid_entries, "a reports what nobody has"


def _beside_a_peer() -> ByHand:
    """Return nodes a and b, which check c's entries; b gets them only from a."""
    cluster = ByHand("abc", checking="ab")
    cluster.cut = {"b"}
    cluster.register("c", KEY, BAD)
    cluster.register("c", OTHER_KEY, TERMS)
    cluster.cut = {"c"}
    cluster.rounds()
    cluster.cut = set()
    return cluster


def a_setting_that_cannot_be_used_is_left_out() -> None:
    """The body of a backend is not an object: no load balancer receives it."""
    cluster = ByHand("ab", checking="a")
    cluster["b"].configure(cluster.now, "backend/web", b"x", "ops", 0)
    cluster.settle()
    cluster.rounds()
    assert not cluster["a"].settings("backend"), "a shows a backend that is none"


def a_change_after_the_largest_number() -> None:
    """Peers refuse larger numbers. The next change must begin a new registration, or no peer would accept it."""
    cluster = ByHand("ab")
    b = cluster["b"]
    b.claims._claim(KEY, TERMS, TTL_S, NUMBER_MAX, None, cluster.now)
    b.claims.refresh(KEY, cluster.now)
    b.gossip.push(cluster.now)
    cluster.settle()
    cluster.register("a", KEY, BAD)
    claims = [replica.view.claim(KEY) for replica in cluster.replicas.values()]
    revs = [claim.rev if claim else 0 for claim in claims]
    assert max(revs) <= NUMBER_MAX, f"the rev is {max(revs) - NUMBER_MAX} more than peers take"
    assert [claim and claim.body for claim in claims] == [BAD, BAD], "the change is not shown everywhere"


def a_checksum_that_is_made_up() -> None:
    """Each of c's rounds claims another content of b's ledger. a still keeps its copy nearly all the time."""
    cluster = ByHand("ab")
    a, c = cluster["a"], Sender(3, "c", "c")
    cluster.register("b", KEY)
    kept = 0
    for i in range(1, 17):
        cluster.run(1)
        heads = cluster["b"].claims.copies.heads()
        heads[2] = evolve(heads[2], checksum=2**64 - 1)
        kept += a.claims.copies.head(2).version > 0
        a.receive(cluster.now, Message(c, heads=heads, counters=(Counter(3, "c", "c", i, 0.0),)))
        kept += a.claims.copies.head(2).version > 0
    assert kept >= 28, f"a had its copy {kept} times of 32"


# Too many peers, addresses or names.


def more_peers_than_may_be() -> None:
    """b sends counters of three thousand nodes that do not exist.

    A new node that sends a message is heard nevertheless.
    """
    cluster = ByHand("ab")
    a, b = cluster["a"], cluster["b"]
    made_up = tuple(Counter(100 + i, f"x{i}", f"x{i}", 1, 0.0) for i in range(3000))
    a.receive(cluster.now, Message(b.identity, heads={}, counters=made_up))
    assert len(a.peers) <= PEERS_MAX, f"a knows {len(a.peers)} nodes"
    a.receive(cluster.now, Message(Sender(9, "c", "c"), heads={}, counters=(Counter(9, "c", "c", 1, 0.0),)))
    assert 9 in a.peers, "a does not know who speaks to it"
    assert 2 in a.peers, "a has forgotten b"


def addresses_that_are_made_up() -> None:
    """b sends counters of a hundred nodes that do not exist.

    a tries some of them in each round, and always its seeds.
    """
    cluster = ByHand("ab")
    a, b = cluster["a"], cluster["b"]
    made_up = tuple(Counter(100 + i, f"x{i}", f"x{i}", 1, 0.0) for i in range(100))
    a.receive(cluster.now, Message(b.identity, heads={}, counters=made_up))
    addresses = a.addresses()
    assert len(addresses) <= 1 + UNREACHED_MAX, f"a tries {len(addresses)} addresses"
    assert "b" in addresses, "a does not try its seed"


def many_that_were_never_there_speak() -> None:
    """Messages come from a hundred nodes, each with its own address. a answers them all, and sends requests to some."""
    cluster = ByHand("a", seeds=False)
    a = cluster["a"]
    a.take_requests()
    for i in range(100):
        sender = Sender(100 + i, f"x{i}", f"x{i}")
        counter = Counter(sender.incarnation, sender.name, sender.address, 1, 0.0)
        a.receive(cluster.now, Message(sender, heads={}, counters=(counter,)))
    asked = len(a.take_requests())
    assert asked <= UNREACHED_MAX, f"a asks {asked} of them at once"


def one_client_uses_all_names() -> None:
    """Whatever one client sets, another client may still set a backend."""
    replica = ByHand("a", seeds=False)["a"]
    replica.configuration.keys_max = 50
    with suppress(Full):
        for i in range(100):
            replica.configure(1000.0, f"backend/{i}", b"{}", "one", 0)
    obstacle = replica.configuration.refusal_reason(ConfigSetting("backend/other", 1, 1, 0, "other", b"{}"))
    assert obstacle is None, obstacle


def a_peer_brings_more_names_than_may_be() -> None:
    """A node accepts from peers twice as many names as clients may set, since peers may be full too, but no more."""
    here = Configuration(10)
    for i in range(100):
        here.join(ConfigSetting(f"backend/{i}", 1, 1, 0, "ops", b"{}"), 0.0)
    assert len(here) == 20, f"{len(here)} names are kept"


# States that are forgotten.


def a_removal_outlives_what_any_node_keeps() -> None:
    """b was cut off and kept a state that replaced another one.

    When b returns, this ended state hides no later state.
    """
    key = key_of_state(KEY)
    here, there = Configuration(), Configuration()
    for rev in (1, 2):
        for configuration in (here, there):
            configuration.join(ConfigSetting(key, rev, 1, 0, "ops", b"drain", 3600.0), 0.0)
    here.join(ConfigSetting(key, 3, 1, 0, "ops", None, here.removal_lasts_s(key, 60.0)), 60.0)
    here.take_due_keys(7000.0)
    here.join(ConfigSetting(key, here.next_rev(key), 1, 0, "ops", b"maint", 3600.0), 7000.0)
    for each in there.with_ages(there.settings(key), 7100.0):
        here.join(each, 7100.0)
    assert here.current(key, 7100.0) is not None, "a state that is over hides the one that was set later"


def a_state_that_was_forgotten_stays_so() -> None:
    """A state that was forgotten is not accepted again. Otherwise a node would request it in every round."""
    key = key_of_state(KEY)
    here = Configuration()
    old = ConfigSetting(key, 1, 1, 0, "ops", b"drain", 60.0)
    here.join(old, 0.0)
    here.take_due_keys(60.0)
    here.take_due_keys(660.0)
    assert key not in here, "it is not forgotten"
    assert not here.join(evolve(old, age_s=661.0), 661.0), "it is news"


def states_are_forgotten() -> None:
    """Ten minutes after states have ended, there is room for others."""
    here = Configuration()
    for i in range(100):
        here.join(ConfigSetting(f"state/{i}", 1, 1, 0, "ops", b"drain", 60.0), 0.0)
    here.take_due_keys(60.0)
    here.take_due_keys(LASTING_S_MAX / 100)
    assert len(here) == 0, f"{len(here)} states are kept that are over"


# Crowded buckets.


def a_crowded_bucket_is_there_before_readiness() -> None:
    """A node gets 35 backends of one bucket in pages of ten.

    It must have all when it is ready, or load balancers lose some.
    """
    cluster = Lossy("a", page_entries_max=10)
    _join(cluster, "a", _named(7, 35))
    replica = cluster.start("z", 26, "a")
    replica.start_round(cluster.now)
    while not replica.is_ready:
        cluster.settle()
        replica.sweep(cluster.now)
    assert len(replica.settings("backend")) == 35, f"z is ready with {len(replica.settings('backend'))} of 35"


def a_crowded_bucket_is_brought() -> None:
    """b cannot send rounds to a, which has 35 backends in a bucket: b gets them in a's rounds."""
    cluster = Lossy("ab", page_entries_max=10)
    cluster.loses = _asked_by_b
    _join(cluster, "a", _named(7, 35))
    for _ in range(6):
        cluster.rounds()
    known = len(cluster["b"].configuration)
    assert known == 35, f"b knows {known} of 35"


def a_bucket_that_goes_on_differing() -> None:
    """b drops everything that it gets of one crowded bucket. The other buckets become equal nevertheless."""
    cluster = Lossy("ab", page_entries_max=10)
    cluster.loses = _asked_by_b
    b = cluster["b"].configuration
    join = b.join

    def drops(setting: ConfigSetting, now: float) -> bool:
        return bucket_of(setting.key) != 0 and join(setting, now)

    b.join = drops  # type: ignore[method-assign]
    _join(cluster, "a", [*_named(0, 50), *(key for number in range(1, 40) for key in _named(number, 3))])
    for _ in range(20):
        cluster.rounds()
    differing = cluster["a"].configuration.differing_buckets(b.bucket_digests)
    assert differing == [0], f"{len(differing)} buckets differ"


def windows_of_a_very_crowded_bucket() -> None:
    """Two nodes lack settings of each other all over a very crowded bucket. They compare it window by window."""
    cluster = Lossy("ab")
    cluster.loses = _asked_by_b
    keys = _named(7, DIGESTS_MAX // SETTINGS_PER_KEY_MAX + 20)
    for name, of in (("a", "here"), ("b", "there")):
        _join(cluster, name, keys, SETTINGS_PER_KEY_MAX)
        _join(cluster, name, _named(7, 16, of))
    for _ in range(5):
        cluster.rounds()
    assert cluster["a"].configuration.digest == cluster["b"].configuration.digest, "a and b differ for good"


def _asked_by_b(asker: str, request: OutgoingMessage) -> bool:
    return asker == "b" and not request.push


def _named(number: int, count: int, kind: str = "backend") -> list[str]:
    """Return names that are all in one bucket."""
    keys = (f"{kind}/{i}" for i in range(1000 * count * BUCKETS))
    return [key for key, _ in zip((key for key in keys if bucket_of(key) == number), range(count), strict=False)]


def _join(cluster: ByHand, name: str, keys: list[str], revs: int = 1) -> None:
    """Add settings to a node without a push."""
    for key in keys:
        for rev in range(1, revs + 1):
            cluster[name].configuration.join(ConfigSetting(key, rev, 9, 0, "ops", b"{}"), cluster.now)
