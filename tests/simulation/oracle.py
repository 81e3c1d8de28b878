"""The oracle: it sees everything, and says when a promise of the architecture is broken.

It looks at every event and every accepted command, and twice an interval at everything that is shown. What a node can
and must know comes from `knowledge`: O *knows* a moment of N when completed rounds have brought all of N's knowledge
of that moment to O; it *may know* one when any message could have. Bodies tell what they belong to: every registration
and every change of one has its own (a `Unit`). A *hold* is a span in which an instance renewed at one node in time:
from an acceptance there until ttl after the last one, each at most ttl after the one before (less two thousandths for
the clocks). A request that waits in the inbox of a node that is paused for less than ttl came when it was made.

When each promise binds, exactly:

P1  Nodes that were connected for 2.2·I, and none of which has changed anything for as long, have equal digests (4.5·I
    where messages get lost), unless one of them lacks pages of a ledger. After the last heal of a run, with no more
    commands, all are equal after 2 rounds: digest, registrations, settings and their history.
P2  O shows a key at t (a) if it knows a moment r of a node N in a hold there, may not know the end of that hold, and
    t < b + ttl + 3·I, b being the last heartbeat of N before r; this is also the lower bound of P6. And (b) during a
    handover: for 3·I after an acceptance at a node of which O does not know yet, but with which it was connected since
    3·I before, if O knew of a hold elsewhere that had not ended by then, at a node connected with both. Holds of what
    was deregistered oblige nobody, nor do those before a deregistration. While O is not ready nothing obliges it. ttl
    is the least that the key ever had. A unit that another replaced is not shown where O knows the other and is
    obliged to show it.
P3  O shows a key at t only if some life N is to blame, each time with the last acceptance there, at a, of which O may
    know; d = a + ttl + the pauses of N since and the time it then took to be ready; and r the last heartbeat of N that
    O believes, as O counts it: t < r + ttl + 3·I (also the upper bound of P6), and either t < d + bound, or N was gone
    by then, or O does not know the moment d + 5·I. The bound is 1·I if the weather was calm since d - 8·I, 2·I if it
    was, but for loss and delays (of fewer than three requests between O and N since d - 1·I), and 5·I otherwise.
    Tolerances stand beside their reasons below. That 2·T + 4·I and 2·T + 8·I hold where a holder died follows; the
    tables of a run measure it. ttl is the one in force: the largest that a claim of N can have where O knows of N.
P4  A registration, with all its changes, that was deregistered at X, which knew a claim of it, is not shown where that
    moment of X is known, nor again where its end was announced; unless somebody registered or renewed it since, where
    it was not known, and the end is over (seed 41147). What comes online is justified by P3; and a key that nobody
    renewed within ttl, nor since, and that was announced as expired here stays for 1·I at most, if nothing happens
    meanwhile.
P5  Events of a key alternate, carry what was shown, and add up to what is shown. `deregistered` only if somebody did,
    and instead of `expired` where that is known, or `check-failed` if all who did so gave that reason; `expired` only
    if some holder could be known to have let go, or will never hear of anybody again; `node-lost` only if no holder's
    heartbeat is known of the last ttl + 3·I; `restored` only if the same unit was lost before. A body that was replaced
    does not come back in calm weather.
P6  The bounds on hiding are in P2 and P3. Under guard, which some seeds have, more than half of an app is not hidden
    within ttl: what would be is announced as suspect, if and only if the members that are out of sight, and those that
    were hidden within ttl, are more than half of those before. A suspect is shown for the guard more, no longer by P3,
    and no shorter, unless an operator lifts the guard from the app; nobody is suspect where that is known, nor what O
    is obliged to show. No storm: a life writes no more than its commands and each unit account for,
    and nothing at all for a renewal where the instance renewed last.
P7  A write known to a life is in its history, unless 20 larger ones or a larger removal displaced it; the largest
    speaks. In the end every write that a living node knows is known to all.
P8  Nobody is ready, answers a client or announces anything after a start or a noticed pause before every seed (at a
    start), or every node that is not silent for certain (after a pause), has answered an ask made since, or 4.5·I
    have passed; with all the configuration that those had who answered; 5·I after that, or after the last page,
    everybody is ready; and a node that neither started nor paused is ready.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable
from math import inf
from typing import TYPE_CHECKING

from attrs import frozen

from bender.core.admin_state import registration_of, state_in
from bender.core.last_writer_wins import SETTINGS_PER_KEY_MAX, kept_s
from bender.core.ledger import Claim, End
from bender.core.messages import ConfigSetting, SettingRank
from bender.core.node_loss_guard import app_of, key_of_guard
from bender.core.reasons import CHECK_FAILED
from bender.core.registration_status import UP
from bender.core.view import ViewEvent, in_order
from tests.simulation.front import Wanted
from tests.simulation.knowledge import Life
from tests.simulation.records import CLOCKS, FORGOTTEN_S, Record, Registration, Unit

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster, Node


@frozen
class Broken:
    """A promise that was broken."""

    promise: str
    at: float
    what: str

    def __str__(self) -> str:
        return f"{self.promise} at {self.at:.3f}: {self.what}"


#: Reasons for which somebody has ended a registration.
ENDED = ("deregistered", CHECK_FAILED)

#: The bounds of P3, in intervals: after ttl, after two of them where a holder died, after ttl since its last heartbeat.
BOUNDS = {
    "calm": 1.0,
    "calm, with loss": 2.0,
    "peer failing": 5.0,
    "holder died": 4.0,
    "holder died, peer failing": 8.0,
    "after its last heartbeat": 3.0,
}


@frozen
class Delay:
    """How late a key went offline on one node, in intervals, and which bound of P3 that falls under."""

    case: str
    intervals: float


class Oracle:
    """Watches a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.interval_s = cluster.interval_s
        self.guard_s = cluster.guard_s
        self.weather = cluster.weather
        self.lives: list[Life] = []
        self.records: dict[str, Record] = {}
        self.broken: list[Broken] = []
        self.delays: list[Delay] = []
        self.counts: Counter[str] = Counter()
        #: Every setting that was ever made; lives know them by their place here. And when those were made that last.
        self.writes: list[ConfigSetting] = []
        self._made_at: dict[tuple[str, SettingRank], float] = {}
        self.commands: Counter[Life] = Counter()
        self._bodies = 0
        self._digests: dict[Life, tuple[int, float]] = {}
        self._checked: dict[Life, tuple[int, int]] = {}

    @property
    def now(self) -> float:
        return self.cluster.now

    def fail(self, promise: str, what: str) -> None:
        self.broken.append(Broken(promise, self.now, what))
        self.cluster.say(f"BROKEN {promise}: {what}")

    # Lives.

    def began(self, node: Node) -> None:
        self.lives.append(node.life)
        self._note_settings(node.life)

    def _note_settings(self, life: Life) -> None:
        """Note what every running node knows of configuration while a life begins to wait for it."""
        running = [node.life for node in self.cluster.nodes.values() if node.running and node.life is not life]
        life.settings_elsewhere = {other.number: other.settings for other in running}

    def ended(self, node: Node) -> None:
        node.life.ended_at = self.now
        node.life.pausing_since = None

    def set_back(self, node: Node, before: Life, at: float) -> None:
        """A node goes on as another life was at a time. What was accepted there meanwhile may be lost."""
        self.lives.append(node.life)
        for record in self.records.values():
            record.set_back(node.life, before, at)

    def took_along(self, node: Node, before: Life) -> None:
        """A node goes on with the claims that another incarnation of the same process had."""
        life = node.life
        life.take_along(before)
        self.commands[life] = self.commands[before]
        for record in self.records.values():
            record.set_back(life, before, self.now)
        # It tells of a last heartbeat of that incarnation, whichever process it was that spoke as it.
        beats = node.replica.peers.get(before.incarnation)
        assert beats is not None
        for other in self._clones(before):
            other.left = True
            if other.ended_at < inf:  # a clone that runs still goes on counting its own
                other.beats.append(self.now)
            life.may = {**life.may, other.number: (self.now, beats.beats, self.now)}

    def _clones(self, life: Life) -> list[Life]:
        """All lives that have spoken as the same incarnation, this one among them."""
        return [other for other in self.lives if other.incarnation == life.incarnation]

    def returned(self, node: Node, gap_s: float) -> None:
        """A node's next input will find that it was away."""
        life = node.life
        gone_at = node.true_time(node.noticed_at)
        if not (node.seeds or life.may):
            return
        life.gone_at, life.since, life.away, life.starting = gone_at, self.now, True, False
        life.must_before = life.must
        self._note_settings(life)
        life.muted = life.muted or gap_s >= self.cluster.timing.ttl_s
        for record in self.records.values():
            if gap_s >= record.ttl_s_min:
                record.waiting.pop(life, None)

    def became_ready(self, node: Node) -> None:
        """A node that was away says that it is ready."""
        self._check_may_speak(node, "is ready")
        self._check_agreed(node)
        life = node.life
        if life.took_along or not life.starting:
            life.pauses.append((life.since, self.now))
        life.away = life.muted = False
        life.beats.append(self.now)
        life.ready_at = self.now

    def _check_may_speak(self, node: Node, what: str) -> None:
        life = node.life
        if life.away and self.now < life.since + 4.49 * self.interval_s:
            missing = self._unheard_seeds(node) if life.starting else self._unheard_peers(life)
            if missing:
                self.fail("P8", f"{node.name} {what} before it has heard from {', '.join(missing)}")

    def _check_agreed(self, node: Node) -> None:
        """A node that is ready has all configuration of the peers that have answered, as it was when it asked them."""
        life = node.life
        if self.now > life.since + 2.9 * self.interval_s:
            return  # by then a peer may be silent again
        for number, asked_at in life.echoed.items():
            peer = self.lives[number]
            if asked_at < life.since - 1e-6 or peer.left or self._replaced(peer):
                continue
            known = [self.writes[write] for write in life.settings_elsewhere.get(number, ())]
            for key in {write.key for write in known}:
                history = node.replica.history(key)
                writes = self.remembered(write for write in known if write.key == key)
                if [*history] != history_of([*writes, *history]):
                    self.fail("P8", f"{life} is ready without settings of {key} that {peer} has")

    def _unheard_seeds(self, node: Node) -> list[str]:
        # A clone may have answered for the other, before either of them knew.
        heard = {clone.node for number in node.life.echoed for clone in self._clones(self.lives[number])} | {node.name}
        # Who is known to have left while it was asked answers no more.
        latest = {life.node: life for life in self.lives}
        heard |= {life.node for life in latest.values() if life.left and life.number in node.life.may}
        return [seed for seed in node.seeds if seed not in heard and self._is_found(node, seed)]

    def _is_found(self, node: Node, seed: str) -> bool:
        """Whether a seed's name leads a node to that seed: not to its own address, and not to one left to another."""
        addresses = node.replica.links.seeds[seed]
        found = map(self.cluster.behind, addresses)
        return node.address not in addresses and all(other is None or other.name == seed for other in found)

    def _unheard_peers(self, life: Life) -> list[str]:
        """Those that are not silent for certain: neither by what was known before the pause, nor by any news since."""
        missing = []
        for number, before in life.must_before.items():
            peer = self.lives[number]
            if life.learned_of(peer, self.now) > before:
                heard_at = peer.last_beat(life.must[number])
            else:
                heard_at = peer.last_beat(before) + life.since - life.gone_at
            silent = self.now > heard_at + 2.9 * self.interval_s
            gone = peer.left or self._replaced(peer)
            # A clone may have answered for the other, before either of them knew.
            echoed_at = max(life.echoed.get(clone.number, -inf) for clone in self._clones(peer))
            if not (silent or gone) and echoed_at < life.since - 1e-6:
                missing.append(str(peer))
        return missing

    # Commands.

    def new_body(self, wanted: Wanted) -> bytes:
        """A body that nothing else has."""
        self._bodies += 1
        return b"%d %g %d %d" % (self._bodies, wanted.ttl_s, wanted.meta, wanted.instance)

    def waits(self, node: Node, key: str) -> None:
        """A client's request waits in a paused node's inbox."""
        record = self.records.get(key)
        if record is not None:
            record.waiting.setdefault(node.life, self.now)

    def waits_no_more(self, life: Life, key: str) -> None:
        record = self.records.get(key)
        if record is not None:
            record.waiting.pop(life, None)

    def accepted(
        self, node: Node, key: str, body: bytes, existing: bytes | None, version: int, *, succeeds: bool = False
    ) -> None:
        """A node has taken in a registration or renewal; its ledger had `version` before.

        `succeeds` says that another instance took the place of the one that was listed, with a registration of its own.
        """
        life, now = node.life, self.now
        self._check_may_speak(node, f"accepts {key}")
        self.counts["accepted"] += 1
        self.commands[life] += 1
        record = self.records.get(key)
        if record is None:
            record = self.records[key] = Record(key, self.guard_s, 8 * self.interval_s)
        unit = record.units.get(body)
        if unit is None:
            replaced = record.units[existing] if existing else None
            unit = record.units[body] = Unit(body, life, now, replaced, succeeds=succeeds)
        elif life not in record.waiting and record.hold(life, now, now) is not None and not unit.registration.ends:  # noqa: SIM102 - two questions
            if node.replica.claims.ledger.version != version:
                self.fail("P6", f"{node.name} writes for a renewal of {key}, which it holds")
        record.accept(life, unit, now)

    def shortened(self, node: Node, key: str, until: float) -> None:
        """A node expects to hear from a key until then."""
        self.records[key].shorten(node.life, until)

    def deregistered(self, node: Node, key: str, bodies: Iterable[bytes], reason: str | None) -> None:
        """A node has ended a key, of which it knew claims with `bodies`."""
        self._check_may_speak(node, f"deregisters {key}")
        self.counts["deregistered"] += 1
        self.commands[node.life] += 1
        self.records[key].end(node.life, set(bodies), self.now, reason or "deregistered")

    def configured(self, node: Node, key: str) -> None:
        self._check_may_speak(node, f"configures {key}")
        self.counts["configured"] += 1
        made = node.replica.history(key)[0]
        self.writes.append(made)
        self._made_at[key, made.rank] = self.now
        node.life.settings |= {len(self.writes) - 1}

    # What must be shown: P2, and the lower bound of P6.

    def obliged(self, life: Life, record: Record) -> Unit | None:
        """Whether a life must show a key, and for the sake of which unit."""
        now, interval_s = self.now, self.interval_s
        if now > record.last_at + record.ttl_s_max + 4 * interval_s:
            return None
        known: list[tuple[float, Life]] = []
        for holder in record.holds:
            moment = life.knows(holder, now)
            if moment == -inf:
                continue
            hold = record.hold(holder, moment, now)
            if hold is None:
                continue
            end, unit = hold
            heard_until = holder.last_beat(moment) + record.ttl_s_min * (1 - CLOCKS) + 2.95 * interval_s
            if life.learned_of(holder, now) < end and now < heard_until:
                return unit
            known.append((end, holder))
        return self._handed_over(life, record, known) if known else None

    def _handed_over(self, life: Life, record: Record, known: list[tuple[float, Life]]) -> Unit | None:
        """The same for what was accepted in the last 3·I elsewhere, while a hold that is known was not over."""
        now, interval_s = self.now, self.interval_s
        new = sorted(
            (hold.begin, number, holder, hold)
            for number, (holder, holds) in enumerate(record.holds.items())
            for hold in holds[-1:]
            if now - 3 * interval_s < hold.begin and life.knows(holder, now) < hold.begin
            if acquainted(life, (holder,))
        )
        for begin, _, holder, hold in new:
            since = begin - 3 * interval_s
            if not self.weather.connected(life, holder, since, now) or now >= hold.end:
                continue
            for end, before in known:
                if begin <= end and self.weather.connected(before, holder, since, now):
                    return hold.unit
        return None

    # What may be shown: P3, and the upper bound of P6.

    def justified(self, life: Life, record: Record, *, until_now: bool = False) -> bool:
        """Whether a life may show a key; with `until_now`, by what it knew before the present message."""
        now = self.now
        for holder, accepted in record.accepted.items():
            learned = life.learned_of(holder, now)
            place = bisect_right(accepted, learned)
            if not place:
                continue
            last_at = accepted[place - 1]
            ttl_s = record.ttl_in_force_s(life, holder, now) * (1 + CLOCKS)
            if now < last_at + ttl_s:
                return True
            # Hidden by the next sweep, which comes within 0.3·I.
            hidden_at = self._counts_from(life, holder) + ttl_s + 3 * self.interval_s
            corrected_at = life.corrected_at.get(holder.number, -inf)
            hidden_at = self._guarded_until(life, record, hidden_at, corrected_at)
            if now >= max(hidden_at, life.ready_at, life.resumed_at, corrected_at) + 0.3 * self.interval_s:
                continue
            paused_s = holder.pauses_after(last_at, now)
            due_at = max(last_at + ttl_s + paused_s, record.due_by_following(holder, last_at + paused_s))
            # Who died before that lets go of nothing any more: its claims are hidden.
            if min(now, holder.ended_at) < due_at + self._bound_s(life, holder, due_at):
                return True
            known = life.knew(holder, now) if until_now else life.knows(holder, now)
            if not self._calm(life, holder, due_at) and known < due_at + 5 * self.interval_s:
                return True
        return False

    def _counts_from(self, life: Life, holder: Life) -> float:
        """When the last heartbeat was that a life believes to be of a holder; that of a clone is taken for one."""
        if not holder.doubled:
            return life.counts_from(holder, self.now)
        return max(life.counts_from(clone, self.now) for clone in self._clones(holder))

    def _due_at(self, life: Life, record: Record) -> float:
        """When the last claim is due of which a life can know; a pause of its node adds its length."""
        due_at = -inf
        for holder, accepted in record.accepted.items():
            place = bisect_right(accepted, life.learned_of(holder, self.now))
            if place:
                paused_s = holder.pauses_after(accepted[place - 1], min(self.now, holder.ended_at))
                due_at = max(due_at, accepted[place - 1] + record.ttl_s_max * (1 + CLOCKS) + paused_s)
        return due_at

    def _guarded_until(self, life: Life, record: Record, hidden_at: float, corrected_at: float) -> float:
        """Until when a life may show what would be hidden at a time, which was taken to be later until `corrected_at`.

        It may have been settled when the key became suspect.
        """
        if record.key not in life.suspects:
            return hidden_at
        since, _ = life.suspects[record.key]
        return max(hidden_at, since if corrected_at >= since else -inf) + self.guard_s * (1 + CLOCKS)

    def _calm(self, life: Life, holder: Life, due_at: float) -> bool:
        lucky = self.weather.lucky_between(life.node, holder.node, due_at - self.interval_s, self.now)
        return lucky and self.weather.calm(due_at - 8 * self.interval_s, self.now)

    def _bound_s(self, life: Life, holder: Life, due_at: float) -> float:
        if not self._calm(life, holder, due_at):
            return 5 * self.interval_s
        return (2 if self.weather.rough(due_at - 8 * self.interval_s) else 1) * self.interval_s

    # Events: P4, P5, and again P2 and P3.

    def event(self, node: Node, event: ViewEvent) -> None:
        known = len(self.broken)
        self._event(node, event)
        if node.life.unaware:  # it cannot know better
            del self.broken[known:]

    def _event(self, node: Node, event: ViewEvent) -> None:
        life, key = node.life, event.key
        self.counts[event.what] += 1
        life.events.append(event)
        if self.cluster.trace is not None:
            suspect = " suspect" if event.standing.suspect else ""
            self.cluster.say(f"{life} says {event.what} {key} {event.body!r} {event.reason}{suspect}")
        if not node.replica.ready and not node.left:
            self.fail("P8", f"{life} announces {key} while it is not ready")
        self._check_may_speak(node, f"announces {key}")
        if not key.startswith("registration/"):
            self._setting_event(life, event)
            return
        record = self.records.get(key)
        if record is None or event.body not in record.units:
            self.fail("P5", f"{life} announces {event.what} of {key} with a body that nobody sent")
        elif event.what == "online":
            life.states[key] = event.standing.state
            self._online(life, record, event)
        elif event.reason == "configured":
            self._state_changed(life, event)
        elif event.standing.state != life.states[key]:
            self.fail("P5", f"{life} announces {event.what} of {key} as {event.standing.state}, not {life.states[key]}")
        elif event.what == "changed" and event.body == life.shown.get(key):
            self._turned(node, record, event)
        elif event.what == "changed":
            self._changed(life, record, event)
        else:
            self._offline(node, record, event)

    def _online(self, life: Life, record: Record, event: ViewEvent) -> None:
        key, unit = event.key, record.units[event.body]
        if key in life.shown:
            self.fail("P5", f"{life} announces {key} twice")
        if event.standing.suspect:
            self.fail("P5", f"{life} announces {key} as suspect, which it did not list")
        life.shown[key] = event.body
        life.losses.pop(key, None)
        before = life.taken_back.get(key)
        lost = before is not None and (before[1], record.units[before[2]].registration) == (
            "node-lost",
            unit.registration,
        )
        if event.reason != "registered" and not (event.reason == "restored" and lost):
            self.fail("P5", f"{life} announces {key} as {event.reason}")
        remembered = before is not None and self.now < before[0] + FORGOTTEN_S
        if lost and remembered and event.reason != "restored" and len(record.accepted) == 1:
            self.fail("P5", f"{life} announces {key}, which it had lost, as {event.reason}")
        self._check_not_ended(life, record, unit.registration)
        if not self.justified(life, record):
            self.fail("P4", f"{life} announces {key}, {self.now - record.last_at:.3f} s after its last renewal")
        if self.now > record.last_at + record.ttl_s_max * (1 + CLOCKS) and before and before[1] != "node-lost":
            life.ghosts[key] = self.now

    def _changed(self, life: Life, record: Record, event: ViewEvent) -> None:
        key, unit = event.key, record.units[event.body]
        old = life.shown.get(key)
        if old is None or old == event.body:
            self.fail("P5", f"{life} announces a change of {key} that is none")
            return
        life.shown[key] = event.body
        if not event.standing.suspect:
            life.suspects.pop(key, None)
        elif key not in life.suspects:
            self.fail("P5", f"{life} announces a change of {key} as if it was suspect")
        self._check_not_ended(life, record, unit.registration)
        newer = record.units[old]
        # Claims follow what replaced them where they see it; with all that may keep them from that, nothing is said.
        calm = self.weather.calm(newer.born_at - 3 * self.interval_s, self.now)
        if (
            unit in newer.before
            and not newer.registration.ends
            and self.now < record.last_at + record.ttl_s_min
            and calm
        ):
            self.fail("P5", f"{life} goes back to {event.body!r} of {key} from {old!r}, which replaced it")

    def _offline(self, node: Node, record: Record, event: ViewEvent) -> None:
        life, key, unit = node.life, event.key, record.units[event.body]
        if event.reason == "node-lost":
            self._check_hidden(node, record, event)
        elif event.standing.suspect != (key in life.suspects):
            self.fail("P5", f"{life} takes back {key} with the wrong suspicion")
        if life.shown.pop(key, None) != event.body:
            self.fail("P5", f"{life} takes back {key}, which it had not announced like this")
        if not (life.away or unit.registration.ends or self.justified(life, record, until_now=True)):
            self.fail("P3", f"{life} showed {key} until {self.now - record.last_at:.3f} s after its last renewal")
        if self.obliged(life, record) is not None:
            self.fail("P2", f"{life} takes back {key}, {self.now - record.last_at:.3f} s after its last renewal")
        self._check_reason(life, record, unit, event)
        life.ghosts.pop(key, None)
        suspect = life.suspects.pop(key, None)
        # Under a long guard the nodes that held it may be forgotten before it is hidden.
        lost_at = self.now if suspect is None else suspect[0]
        life.taken_back[key] = (lost_at, event.reason, event.body)
        if event.reason in ENDED:
            life.said_deregistered.add(unit.registration)
        elif record.ended_at == -inf and suspect is None:
            self._note_delay(life, record)

    # The guard: P6, and again P2 and P3.

    def _turned(self, node: Node, record: Record, event: ViewEvent) -> None:
        """A registration became suspect, or is that no more."""
        life, key, unit = node.life, event.key, record.units[event.body]
        expected = ("node-lost", False) if event.standing.suspect else ("restored", True)
        if (event.reason, key in life.suspects) != expected:
            self.fail("P5", f"{life} announces a change of {key} that is none: {event.reason}")
        elif not event.standing.suspect:
            del life.suspects[key]
            if not self.justified(life, record):
                self.fail("P3", f"{life} trusts {key} again, {self.now - record.last_at:.3f} s after its last renewal")
        else:
            self.counts["suspected"] += 1
            if self.obliged(life, record) is not None:
                self.fail("P2", f"{life} suspects {key}, {self.now - record.last_at:.3f} s after its last renewal")
            if True not in self._verdicts(node, key):
                self.fail("P6", f"{life} suspects {key}, which is no mass loss")
            self._check_reason(life, record, unit, event)
            life.suspects[key] = (self.now, self._guarded_for_certain(life, record))

    def _check_hidden(self, node: Node, record: Record, event: ViewEvent) -> None:
        """What was suspect is not hidden before its time, and most of an app not without it."""
        life, key = node.life, event.key
        guarded = [entry for entry in node.replica.claims.index.entries(key) if isinstance(entry, Claim)]
        if event.standing.suspect != (key in life.suspects):
            self.fail("P5", f"{life} hides {key} with the wrong suspicion")
        elif key in life.suspects:
            since, until = life.suspects[key]
            until = min(until, self._guarded_for_certain(life, record))  # a holder may have let go of it since
            if life.born_at < since and self.now < until and not self._may_be_lifted(key):
                self.fail("P6", f"{life} hides {key} before the guard is over")
        elif self.guard_s and guarded and not self._may_be_lifted(key):  # noqa: SIM102 - two questions
            if False not in self._verdicts(node, key) and self.now < self._guarded_for_certain(life, record):
                self.fail("P6", f"{life} hides {key}, though most of its app is lost")
        life.losses[key] = (self.now, sum(app_of(other) == app_of(key) for other in life.shown))

    def _verdicts(self, node: Node, key: str) -> set[bool]:
        """Whether it is a mass loss that a key would be hidden; both where it depends on the clocks."""
        life, app = node.life, app_of(key)
        listed = [other for other in life.shown if app_of(other) == app]
        out_of_sight = sum(self._out_of_sight(node, other) for other in listed)
        verdicts = set()
        for window_s in (self.cluster.timing.ttl_s * (1 - CLOCKS), self.cluster.timing.ttl_s * (1 + CLOCKS)):
            lost = [
                members
                for other, (at, members) in life.losses.items()
                if at > self.now - window_s and app_of(other) == app
            ]
            verdicts.add(2 * (out_of_sight + len(lost)) > (lost[0] if lost else len(listed)))
        return verdicts

    def _out_of_sight(self, node: Node, key: str) -> bool:
        """Whether a key will be hidden if no node is heard that is silent now."""
        replica, now = node.replica, node.clock(self.now)
        entries = replica.claims.index.entries(key)
        ended = {root for entry in entries if isinstance(entry, End) for root in entry.roots}
        holders = [entry.node for entry in entries if isinstance(entry, Claim) and entry.root not in ended]
        peers = [peer for peer in replica.peers if peer.incarnation in holders]
        if node.life.incarnation in holders or not all(replica.peers.silent(each, now) for each in peers):
            return False
        return key in node.life.suspects or not all(peer.gone for peer in peers)

    def _guarded_for_certain(self, life: Life, record: Record) -> float:
        """Until when a life must show what it suspects now, by what it knows for certain of who held it."""
        ttl_s = record.ttl_s_min * (1 - CLOCKS) + 2.95 * self.interval_s
        last_at = -inf
        for holder in record.holds:
            moment = life.knows(holder, self.now)
            hold = record.hold(holder, moment, self.now)
            if hold is not None and life.learned_of(holder, self.now) < hold[0]:
                last_at = max(last_at, holder.last_beat(moment))
        return last_at + ttl_s + self.guard_s * (1 - CLOCKS)

    def _may_be_lifted(self, key: str) -> bool:
        lifting = key_of_guard(app_of(key))
        return any(write.key == lifting and not self._is_over(write) for write in self.writes)

    def _is_lifted(self, node: Node, key: str) -> bool:
        lifting = key_of_guard(app_of(key))
        known = [self.writes[number] for number in node.life.settings if self.writes[number].key == lifting]
        return bool(known) and self._lasts(history_of([*known, *node.replica.history(lifting)])[0])

    def _check_suspects(self, node: Node) -> None:
        life = node.life
        view = node.replica.view
        if {key for key in life.shown if view.standing(key).suspect} != {*life.suspects}:
            self.fail("P5", f"{life} suspects something else than it announced")
        for key, (since, _) in life.suspects.items():
            until = max(since + self.guard_s * (1 + CLOCKS), life.ready_at, life.resumed_at) + 0.3 * self.interval_s
            if self.now > until:
                self.fail("P6", f"{life} suspects {key} since {self.now - since:.3f} s")
            if self._is_lifted(node, key):
                self.fail("P6", f"{life} suspects {key}, though the guard was lifted from its app")
            if self.obliged(life, self.records[key]) is not None:
                self.fail("P2", f"{life} suspects {key}, which it must know to be alive")

    def _ends_are_over(self, registration: Registration) -> bool:
        """Whether a registration may be heard of again, like one that has expired, from who was cut off."""
        return all(self.now >= end.kept_until for end in registration.ends)

    def _check_not_ended(self, life: Life, record: Record, registration: Registration) -> None:
        key = record.key
        known = registration in life.said_deregistered or registration.known_ended(life, self.now)
        if known and not self._ends_are_over(registration):
            self.fail("P4", f"{life} announces {key}, of which it knows that it was deregistered")

    def _check_reason(self, life: Life, record: Record, unit: Unit, event: ViewEvent) -> None:
        if event.reason in ENDED:
            ends = unit.registration.ends
            known = {
                end.reason for end in ends if life.knows(end.life, self.now) > end.at and self.now < end.kept_until
            }
            heard_of = {end.reason for end in ends if life.learned_of(end.life, self.now) >= end.at}
            if event.reason not in heard_of or (event.reason == CHECK_FAILED and "deregistered" in known):
                self.fail("P5", f"{life} says that {event.key} was {event.reason}")
            return
        # Who hears of it when the end is gone finds nothing, as if it had expired.
        if unit.registration.said_to_be_ended(life, self.now):
            self.fail("P5", f"{life} knows that {event.key} was deregistered, and says {event.reason}")
        if event.reason == "node-lost":
            latest = max(life.knows(holder, self.now) for holder in record.accepted)
            if all(
                holder.last_beat(life.knows(holder, self.now)) > self.now - record.ttl_s_min - 2.9 * self.interval_s
                for holder in record.accepted
            ):
                self.fail("P5", f"{life} says that the nodes of {event.key} are lost, heard at {latest:.3f}")
        elif event.reason == "expired" and record.ended_at == -inf:  # noqa: SIM102 - two questions
            if not any(self._may_have_lapsed(life, record, holder) for holder in record.accepted):
                self.fail("P5", f"{life} says that {event.key} is expired, of which it cannot know")

    def _may_have_lapsed(self, life: Life, record: Record, holder: Life) -> bool:
        """Whether a life may know a moment at which another has let go of a key, or may have forgotten it."""
        learned = life.learned_of(holder, self.now)
        accepted = record.accepted[holder]
        if any(hold.end <= learned for hold in record.holds.get(holder, ())) or self.now - learned > FORGOTTEN_S:
            return True
        if holder.doubled:  # when its claims end is not followed here
            return True
        # A node that left, or was replaced by another incarnation, hears from nobody any more.
        known_at = min(accepted[max(bisect_right(accepted, learned) - 1, 0)], life.counts_from(holder, self.now))
        may_be_gone = holder.left or self._replaced(holder) or self._shares_address(holder)
        return may_be_gone and self.now >= known_at + record.ttl_s_min * (1 - CLOCKS)

    def _replaced(self, life: Life) -> bool:
        """Whether there is a later life of the same node, or another one lives on at its address."""
        later = any(other.node == life.node for other in self.lives[life.number + 1 :])
        return later or any(other.address == life.address and other.ended_at > life.ended_at for other in self.lives)

    def _shares_address(self, life: Life) -> bool:
        """Whether another life was at its address at the same time, as a clone is, which is taken for its successor."""
        others = (other for other in self.lives if other is not life and other.address == life.address)
        return any(other.born_at < life.ended_at and life.born_at < other.ended_at for other in others)

    def _note_delay(self, life: Life, record: Record) -> None:
        """Note how late a key's end was, and which bound of P3 it falls under."""
        now, ttl_s, interval_s = self.now, record.ttl_s_max, self.interval_s
        known = {
            holder: accepted[place - 1]
            for holder, accepted in record.accepted.items()
            if (place := bisect_right(accepted, life.learned_of(holder, now)))
        }
        last_at = max(known.values(), default=inf)
        # A pause of the node that was renewed last moves all that follows from its claim.
        ends_at = max((at + ttl_s + holder.pauses_after(at, now) for holder, at in known.items()), default=inf)
        # Who was away itself, or came later, was not connected; an early end is for P2 to judge.
        if (
            now < last_at + ttl_s
            or record.ttl_s_min != ttl_s
            or life.pauses_after(last_at, now)
            or life.born_at > last_at
            or any(holder.doubled for holder in known)  # another process may have kept its claim alive
        ):
            return
        for holder, accepted_at in known.items():
            heard_at = life.counts_from(holder, now)
            hidden_s = now - (heard_at + ttl_s + 3 * interval_s)
            if holder is not life and -0.05 * interval_s <= hidden_s < 0.35 * interval_s:
                self._delayed("after its last heartbeat", now - heard_at - ttl_s)
                # Where word of it waited at a node that was paused, its last heartbeat is later here than it was.
                if heard_at < holder.last_beat(life.learned_of(holder, now)) + interval_s:
                    before = heard_at < accepted_at + ttl_s + holder.pauses_after(accepted_at, now) + interval_s
                    self._delayed("holder died" if before else "holder died, peer failing", now - ends_at - ttl_s)
                return
            if -0.05 * interval_s <= hidden_s < 2.5 * interval_s and holder.ended_at < now:
                return  # its claim kept this one company; what was said last was hidden a moment ago
        due = [(at + ttl_s + holder.pauses_after(at, now), holder.number) for holder, at in known.items()]
        due_at, number = max(((at, number) for at, number in due if at <= now), default=(inf, 0))
        if due_at > now or not self.weather.connected(life, self.lives[number], due_at - 3 * interval_s, now):
            return
        if self._calm(life, self.lives[number], due_at):
            self._delayed("calm, with loss" if self.weather.rough(due_at - 8 * interval_s) else "calm", now - due_at)
        elif now < due_at + 5 * interval_s:  # who learned of it later was out of touch
            self._delayed("peer failing", now - due_at)

    def _delayed(self, case: str, late_s: float) -> None:
        self.delays.append(Delay(case, late_s / self.interval_s))

    # Twice an interval: everything that is shown.

    def look(self) -> None:
        """Look at all nodes."""
        for record in self.records.values():
            if record.ttl_s_min != record.ttl_s_max:
                for unit in record.units.values():
                    unit.note_who_knows(record.accepted, self.interval_s, self.now)
        for node in self.cluster.nodes.values():
            if not node.serving:
                continue
            self._check_ready(node)
            self._check_shown(node)
            if node.replica.ready and not node.life.unaware:
                for record in self.records.values():
                    self._check_record(node.life, record)
                self._check_settings(node)
                self._check_states(node)
                self._check_suspects(node)
        self._check_equal()

    def _check_ready(self, node: Node) -> None:
        life, ready = node.life, node.replica.ready
        if not ready and not life.away:
            self.fail("P8", f"{life} is not ready, though it was not away")
        if not (ready or self.may_be_away(life)):
            self.fail("P8", f"{life} is not ready since {self.now - life.since:.3f} s")

    def may_be_away(self, life: Life) -> bool:
        """Whether a life need not be ready yet."""
        return life.away and self.now <= max(life.since, life.paged_at) + 5 * self.interval_s

    def _check_shown(self, node: Node) -> None:
        shown = node.life.shown
        groups = node.replica.view.groups()
        if [*sorted(shown.items())] != [(claim.key, claim.body) for group in groups for claim in in_order(group)]:
            self.fail("P5", f"{node.life} shows something else than it announced")

    def _check_record(self, life: Life, record: Record) -> None:
        now, key = self.now, record.key
        body = life.shown.get(key)
        if body is None:
            if now < record.last_at + record.ttl_s_max + 4 * self.interval_s and self.obliged(life, record) is not None:
                self.fail("P2", f"{life} does not show {key}, {now - record.last_at:.3f} s after its last renewal")
            return
        unit = record.units[body]
        registration = unit.registration
        if registration.known_ended(life, now) and not self._ends_are_over(registration):
            self.fail("P4", f"{life} shows {key}, of which it knows that it was deregistered")
        if now >= record.last_at + record.ttl_s_min and not self.justified(life, record):
            self.fail("P3", f"{life} shows {key}, {now - record.last_at:.3f} s after its last renewal")
        if now >= record.last_at + record.ttl_s_max:
            self._check_ghost(life, record)
        if len(record.units) > 1:
            self._check_replaced(life, record, unit)

    def _check_ghost(self, life: Life, record: Record) -> None:
        key = record.key
        since = life.ghosts.get(key)
        if since is None or since <= record.last_at:
            return
        if any(holder.doubled for holder in record.accepted):
            return  # what such a node was set back to counts by its new heartbeats until it notices (rule 10)
        bound_s = (2 if self.weather.rough(since) else 1) * self.interval_s
        is_late = self.now > max(since, self._due_at(life, record)) + bound_s
        if is_late and self.weather.undisturbed(since, self.now):
            self.fail("P4", f"{life} shows {key} again, though it was expired, since {self.now - since:.3f} s")

    def _check_replaced(self, life: Life, record: Record, shown: Unit) -> None:
        """What another unit replaced is not shown where that other one is known and held."""
        now = self.now
        for unit in record.units.values():
            if not unit.registration.ends and shown in unit.before and life.knows(unit.life, now) > unit.born_at:
                held = self.obliged(life, record)
                if held is not None and (held is unit or unit in held.before):
                    self.fail("P2", f"{life} shows {shown.body!r} of {record.key}, not {unit.body!r}, which it knows")

    def _check_equal(self) -> None:
        """P1."""
        now = self.now
        quiet_s = (4.5 if self.weather.rough(now - 4.5 * self.interval_s) else 2.2) * self.interval_s
        nodes = {
            node.life: node
            for node in self.cluster.nodes.values()
            if node.serving and node.replica.ready and not (node.life.doubled or lacks_pages(node))
        }
        for life, node in nodes.items():
            digest = node.replica.digest()
            if life not in self._digests or self._digests[life][0] != digest:
                self._digests[life] = (digest, now)
        since = now - quiet_s
        if any(FORGOTTEN_S < now - life.beats[-1] < 3 * FORGOTTEN_S for life in self.lives):
            return  # each forgets them in its own time
        if self.weather.stable_since() > since or not self.weather.lucky(since, now):
            return
        for group in self.weather.groups():
            if all(life in nodes and self._digests[life][1] <= since for life in group):  # noqa: SIM102 - two questions
                if len({self._digests[life][0] for life in group}) > 1:
                    self.fail("P1", f"{', '.join(map(str, group))} are connected, quiet and unlike")

    # Configuration: P7.

    def _setting_event(self, life: Life, event: ViewEvent) -> None:
        old = life.shown_settings.get(event.key)
        fits = {
            "created": old is None,
            "changed": old is not None and old != event.body,
            "removed": old is not None and old == event.body,
        }
        if not fits.get(event.what, False) or event.reason != "configured":
            self.fail("P5", f"{life} announces {event.what} of {event.key} after {old!r}: {event.reason}")
        if event.what == "removed":
            life.shown_settings.pop(event.key, None)
        else:
            life.shown_settings[event.key] = event.body
        if not any(write.key == event.key and write.body == event.body for write in self.writes):
            self.fail("P7", f"{life} announces a setting of {event.key} that nobody made")

    def _check_settings(self, node: Node) -> None:
        life, replica = node.life, node.replica
        state = (len(life.settings), replica.configuration.digest)
        if self._checked.get(life) == state:
            return
        self._checked[life] = state
        known: dict[str, list[ConfigSetting]] = defaultdict(list)
        for number in life.settings:
            known[self.writes[number].key].append(self.writes[number])
        for key, settings in known.items():
            history = replica.history(key)
            expected = history_of([*self.remembered(settings), *history])
            if not expected:
                continue
            if list(history) != expected:
                self.fail("P7", f"{life} has lost settings of {key}: {history} instead of {expected}")
            current = expected[0].body
            if expected[0].lasts_s is not None:
                continue
            if life.shown_settings.get(key) != current or _body(replica.setting(key)) != current:
                self.fail("P7", f"{life} shows {life.shown_settings.get(key)!r} for {key} instead of {current!r}")

    # What operators say of instances, which lasts for a while: P7 again, and P5.

    def _state_changed(self, life: Life, event: ViewEvent) -> None:
        known = life.states[event.key], life.shown.get(event.key)
        suspect = event.key in life.suspects
        if event.what != "changed" or event.standing.state == known[0] or event.body != known[1]:
            self.fail("P5", f"{life} announces {event.what} of {event.key} to {event.standing.state}, after {known}")
        if event.standing.suspect != suspect:
            self.fail("P5", f"{life} announces {event.key} to {event.standing.state} with the wrong suspicion")
        life.states[event.key] = event.standing.state

    def _check_states(self, node: Node) -> None:
        life, replica = node.life, node.replica
        known: dict[str, list[ConfigSetting]] = defaultdict(list)
        for number in life.settings:
            if self.writes[number].lasts_s is not None:
                known[self.writes[number].key].append(self.writes[number])
        for key, settings in known.items():
            of = registration_of(key)
            if of is None:
                continue
            shown = replica.view.standing(of).state
            if of in life.shown and life.states[of] != shown:
                self.fail("P5", f"{life} shows {shown} of {of}, and announced something else")
            said = next(iter(history_of([*self.remembered(settings), *replica.history(key)])), None)
            expected = state_in(said)
            if shown not in (expected, UP) or (said and shown == UP != expected and self._lasts(said)):
                self.fail("P7", f"{life} shows {shown} for {key} instead of {expected}")
            if said and shown != UP and self._is_over(said):
                self.fail("P7", f"{life} shows {shown} for {key}, which is over")

    def remembered(self, settings: Iterable[ConfigSetting]) -> tuple[ConfigSetting, ...]:
        """What must be left of settings of one key, but for those that a node may have forgotten by any clock."""
        return tuple(
            setting
            for setting in history_of(settings)
            if setting.lasts_s is None
            or self.now - self._made_at[setting.key, setting.rank] < kept_s(setting) * (1 - CLOCKS)
        )

    def _lasts(self, setting: ConfigSetting) -> bool:
        """Whether the time that a setting was given cannot be over yet by any clock."""
        age_s = self.now - self._made_at[setting.key, setting.rank]
        return age_s < (setting.lasts_s or inf) * (1 - CLOCKS)

    def _is_over(self, setting: ConfigSetting) -> bool:
        """Whether it must be over: time may go by on the way, more where a node was paused, and until the sweep."""
        made_at = self._made_at[setting.key, setting.rank]
        paused_s = sum(life.pauses_after(made_at, self.now) for life in self.lives)
        over_at = made_at + (setting.lasts_s or inf) * (1 + CLOCKS) + 4 * self.interval_s + paused_s
        return self.now > over_at


def lacks_pages(node: Node) -> bool:
    """Whether a node has a part of a ledger only: for good, where the ledger's own node died between two pages."""
    return not all(ledger.complete for ledger in node.replica.claims.ledgers.values())


def acquainted(life: Life, others: Iterable[Life]) -> bool:
    """Whether a life has heard of all others: nodes whose only seed is dead cannot know each other."""
    return all(other is life or other.number in life.may for other in others)


def history_of(settings: Iterable[ConfigSetting]) -> list[ConfigSetting]:
    """What must be left of settings of one key: the 20 largest, down to the largest removal."""
    kept: list[ConfigSetting] = []
    for setting in sorted({each.rank: each for each in settings}.values(), key=lambda each: each.rank, reverse=True):
        kept.append(setting)
        if setting.body is None or len(kept) == SETTINGS_PER_KEY_MAX:
            break
    return kept


def _body(setting: ConfigSetting | None) -> bytes | None:
    return setting.body if setting else None
