"""The history that all checkers read, and the list of broken promises that they write.

A history consists of

- lives (`knowledge.Life`): each incarnation with its start, end, heartbeats and pauses, what it can know and must know,
  and what it announced;
- records (`records.Record`), one for each key: which node accepted a registration, renewal or deregistration, and when;
- writes of configuration, each with the time at which it was made;
- the weather: which nodes were connected, and when anything disturbed the cluster.

All times are true times in seconds, on one clock. Nothing here asks a node anything: a recorder calls these methods in
the order of time. `ObservedNode` is the rest of what checkers see.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from math import inf
from typing import Protocol

from attrs import frozen

from bender.core.last_writer_wins import SETTINGS_PER_KEY_MAX, kept_s
from bender.core.ledger import Entry
from bender.core.messages import ConfigSetting, SettingRank
from bender.core.peers import Peer
from bender.core.registration_status import RegistrationStatus
from bender.core.timing import Timing
from tests.simulation.knowledge import Life
from tests.simulation.records import CLOCKS, Record, Unit
from tests.simulation.weather import Weather


class ObservedNode(Protocol):
    """Queries to a node, about the present moment."""

    @property
    def name(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def life(self) -> Life: ...
    @property
    def seeds(self) -> tuple[str, ...]: ...
    @property
    def serving(self) -> bool: ...
    @property
    def left(self) -> bool: ...
    @property
    def is_ready(self) -> bool: ...
    @property
    def digest(self) -> int: ...
    @property
    def settings_digest(self) -> int: ...
    @property
    def ledger_version(self) -> int: ...
    def listed(self) -> list[tuple[str, bytes]]:
        """Return the keys and bodies of the registrations that the node lists, sorted by key."""

    def status(self, key: str) -> RegistrationStatus:
        """Return the status of a registration that the node lists."""

    def setting(self, key: str) -> ConfigSetting | None:
        """Return the setting in force."""

    def setting_history(self, key: str) -> tuple[ConfigSetting, ...]:
        """Return all settings of a key, the largest first."""

    def entries(self, key: str) -> Collection[Entry]:
        """Return the claims and ends of a key, of all ledgers."""

    def peers(self, at: float) -> Iterator[tuple[Peer, bool]]:
        """Return the peers that the node knows, each with whether the node takes it for silent at a time."""

    def lacks_pages(self) -> bool:
        """Return True if the node has only a part of some ledger."""

    def seed_addresses(self, seed: str) -> Iterable[str]:
        """Return the addresses to which the name of a seed resolves."""


class Time(Protocol):
    """The present moment."""

    @property
    def now(self) -> float: ...


@frozen
class Broken:
    """A promise that was broken."""

    promise: str
    at: float
    what: str

    def __str__(self) -> str:
        return f"{self.promise} at {self.at:.3f}: {self.what}"


@frozen
class Delay:
    """The time, in intervals, after which a key went offline on one node, and the bound of P3 that applies."""

    case: str
    intervals: float


class History:
    """The history of a cluster, and the promises that were broken."""

    def __init__(
        self, time: Time, timing: Timing, guard_s: float, weather: Weather, log: Callable[[str], None]
    ) -> None:
        self._time = time
        self.interval_s = timing.interval_s
        self.ttl_s = timing.ttl_s
        self.guard_s = guard_s
        self.weather = weather
        self._log = log
        self.lives: list[Life] = []
        self.records: dict[str, Record] = {}
        self.broken: list[Broken] = []
        self.delays: list[Delay] = []
        self.counts: Counter[str] = Counter()
        #: The number of commands that each life accepted.
        self.commands: Counter[Life] = Counter()
        #: Every setting that was ever made; lives know them by their place here. And when those were made that last.
        self.writes: list[ConfigSetting] = []
        self._made_at: dict[tuple[str, SettingRank], float] = {}

    @property
    def now(self) -> float:
        return self._time.now

    def fail(self, promise: str, what: str) -> None:
        """Report a broken promise."""
        self.broken.append(Broken(promise, self.now, what))
        self._log(f"BROKEN {promise}: {what}")

    # Lives.

    def life_began(self, life: Life) -> None:
        self.lives.append(life)
        self._note_settings(life)

    def _note_settings(self, life: Life) -> None:
        """Note the settings that every running node knows when a life begins to wait for that node."""
        running = [other for other in self.lives if other.is_running and other is not life]
        life.settings_elsewhere = {other.number: other.settings for other in running}

    def life_ended(self, life: Life) -> None:
        life.ended_at = self.now
        life.pausing_since = None

    def life_set_back(self, life: Life, before: Life, at: float) -> None:
        """Let a node continue as another life was at a time. What was accepted there after this time may be lost."""
        self.lives.append(life)
        for record in self.records.values():
            record.set_back(life, before, at)

    def claims_taken_along(self, life: Life, before: Life, beats: int) -> None:
        """Let a life continue with the claims of another incarnation of the same process.

        It reports `beats` of that one.
        """
        life.take_along(before)
        self.commands[life] = self.commands[before]
        for record in self.records.values():
            record.set_back(life, before, self.now)
        # Another process may have spoken as that incarnation. The life reports its last heartbeat in any case.
        for other in self.clones(before):
            other.left = True
            if other.ended_at < inf:  # A clone that still runs continues to count its own heartbeats.
                other.beats.append(self.now)
            life.may = {**life.may, other.number: (self.now, beats, self.now)}

    def pause_noticed(self, life: Life, gone_at: float, gap_s: float) -> None:
        """Note that the next input of a life's node will find a gap of `gap_s` on the node's clock, since `gone_at`."""
        life.gone_at, life.since, life.away, life.starting = gone_at, self.now, True, False
        life.must_before = life.must
        self._note_settings(life)
        life.muted = life.muted or gap_s >= self.ttl_s
        for record in self.records.values():
            if gap_s >= record.ttl_s_min:
                record.waiting.pop(life, None)

    def became_ready(self, life: Life) -> None:
        if life.took_along or not life.starting:
            life.pauses.append((life.since, self.now))
        life.away = life.muted = False
        life.beats.append(self.now)
        life.ready_at = self.now

    def clones(self, life: Life) -> list[Life]:
        """Return all lives that have used the same incarnation, including this one."""
        return [other for other in self.lives if other.incarnation == life.incarnation]

    def is_replaced(self, life: Life) -> bool:
        """Return True if there is a later life of the same node, or another running life has its address."""
        later = any(other.node == life.node for other in self.lives[life.number + 1 :])
        return later or any(other.address == life.address and other.ended_at > life.ended_at for other in self.lives)

    def shares_address(self, life: Life) -> bool:
        """Return True if another life had the same address at the same time.

        It may be a clone, taken for a successor.
        """
        others = (other for other in self.lives if other is not life and other.address == life.address)
        return any(other.born_at < life.ended_at and life.born_at < other.ended_at for other in others)

    # Registrations.

    def request_waits(self, life: Life, key: str) -> None:
        """Note that a request of a client waits in a paused node's inbox."""
        record = self.records.get(key)
        if record is not None:
            record.waiting.setdefault(life, self.now)

    def request_waits_no_more(self, life: Life, key: str) -> None:
        record = self.records.get(key)
        if record is not None:
            record.waiting.pop(life, None)

    def record(self, key: str) -> Record:
        """Return the record of a key, which is made at the first call."""
        record = self.records.get(key)
        if record is None:
            record = self.records[key] = Record(key, self.guard_s, 8 * self.interval_s)
        return record

    def accepted(
        self, life: Life, record: Record, body: bytes, existing: bytes | None, *, succeeds: bool = False
    ) -> None:
        """Note that a node accepted a registration or renewal, which has `body` now and replaced `existing`.

        `succeeds` means that another instance took the place of the listed one, with a registration of its own.
        """
        unit = record.units.get(body)
        if unit is None:
            replaced = record.units[existing] if existing else None
            unit = record.units[body] = Unit(body, life, self.now, replaced, succeeds=succeeds)
        record.accept(life, unit, self.now)

    def session_ended(self, life: Life, key: str, until: float) -> None:
        """Note that a life expects the next renewal of a key until this time."""
        self.records[key].shorten(life, until)

    def deregistered(self, life: Life, key: str, bodies: Iterable[bytes], reason: str | None) -> None:
        """Note that a node deregistered a key of which it knew claims with these bodies."""
        self.records[key].end(life, set(bodies), self.now, reason or "deregistered")

    def note_who_knows(self) -> None:
        """Note the lives that know the units of keys whose ttl has changed."""
        for record in self.records.values():
            if record.ttl_s_min != record.ttl_s_max:
                for unit in record.units.values():
                    unit.note_who_knows(record.accepted, self.interval_s, self.now)

    # Configuration.

    def configured(self, life: Life, made: ConfigSetting) -> None:
        self.writes.append(made)
        self._made_at[made.key, made.rank] = self.now
        life.settings |= {len(self.writes) - 1}

    def remembered(self, settings: Iterable[ConfigSetting]) -> tuple[ConfigSetting, ...]:
        """Return the settings of one key that must be kept, without those that a node may forget by its clock."""
        return tuple(
            setting
            for setting in kept_settings(settings)
            if setting.lasts_s is None
            or self.now - self._made_at[setting.key, setting.rank] < kept_s(setting) * (1 - CLOCKS)
        )

    def is_in_time(self, setting: ConfigSetting) -> bool:
        """Return True if the duration of a setting cannot have ended yet by any clock."""
        age_s = self.now - self._made_at[setting.key, setting.rank]
        return age_s < (setting.lasts_s or inf) * (1 - CLOCKS)

    def is_over(self, setting: ConfigSetting) -> bool:
        """Return True if the setting must have ended.

        This allows for the time on the way, for pauses, and for the sweep.
        """
        made_at = self._made_at[setting.key, setting.rank]
        paused_s = sum(life.pauses_after(made_at, self.now) for life in self.lives)
        over_at = made_at + (setting.lasts_s or inf) * (1 + CLOCKS) + 4 * self.interval_s + paused_s
        return self.now > over_at


def knows_all(life: Life, others: Iterable[Life]) -> bool:
    """Return True if a life knows all others. Nodes whose only seed is dead cannot know each other."""
    return all(other is life or other.number in life.may for other in others)


def kept_settings(settings: Iterable[ConfigSetting]) -> list[ConfigSetting]:
    """Return the settings of one key that must be kept: the 20 largest, down to the largest removal."""
    kept: list[ConfigSetting] = []
    for setting in sorted({each.rank: each for each in settings}.values(), key=lambda each: each.rank, reverse=True):
        kept.append(setting)
        if setting.body is None or len(kept) == SETTINGS_PER_KEY_MAX:
            break
    return kept
