"""Who has applied a change: the nodes, and the consumers of each.

A node knows its own consumers alone, so it asks the others for theirs, and each answers when all of them have confirmed
what the asker has done. Whoever turns out to be silent meanwhile is not waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred

from bender.consumers import Consumers
from bender.core.consumer import Awaited, Consumer
from bender.core.contacts import Contact
from bender.core.replica import Replica
from bender.journal import Journal
from bender.spreading import Spreading

#: Asks the node at an address for its consumers; None if it does not answer.
Ask = Callable[[str, Awaited], Coroutine[Any, Any, tuple[Consumer, ...] | None]]

_Asking = Deferred[tuple[Consumer, ...] | None]


@frozen
class Applied:
    """Who has applied a change: nodes, this one first, and consumers; and who did not say so, all by name.

    A peer that was configured and never found has no name, but is missing under its address.
    """

    nodes: tuple[str, ...]
    consumers: tuple[str, ...]
    missing: tuple[str, ...]


class Applying:
    """Finds out for one node."""

    def __init__(
        self,
        replica: Replica,
        journal: Journal,
        consumers: Consumers,
        spreading: Spreading,
        monotonic: Callable[[], float],
    ) -> None:
        self._replica = replica
        self._journal = journal
        self._consumers = consumers
        self._spreading = spreading
        self._monotonic = monotonic

    async def until_applied(self, ask: Ask, key: str, within_s: float) -> Applied:
        """Wait until all have what was done to a key here before, so many seconds at most, but for who is silent."""
        replica = self._replica
        version = replica.claims.ledger.version
        awaited = Awaited(key, replica.identity.incarnation, version, within_s)
        own, asking = _begun(self.awaited(awaited)), self._ask(ask, awaited)
        try:
            reached = await self._spreading.until_reached(version, within_s)
            for contact, answer in asking.items():
                if contact.name not in reached.nodes or replica.rounds.left:
                    answer.cancel()
            consumers, untold = await _gathered(own, asking)
        finally:
            _cancel(own, *asking.values())
        lacking = [each.name for each in consumers if not (each.connected and each.applied)]
        having = [each.name for each in consumers if each.name not in lacking]
        return Applied(
            tuple(name for name in reached.nodes if name not in untold),
            tuple(dict.fromkeys(having)),
            tuple(dict.fromkeys([*reached.missing, *untold, *lacking])),
        )

    async def consumers(self, ask: Ask) -> list[Consumer]:
        """The consumers of all nodes that answer, in order of name."""
        own, asking = _begun(self.awaited(Awaited())), self._ask(ask, Awaited())
        try:
            consumers, _ = await _gathered(own, asking)
        finally:
            _cancel(own, *asking.values())
        return consumers

    async def awaited(self, awaited: Awaited) -> tuple[Consumer, ...]:
        """This node's consumers, when they have confirmed what is awaited, or as soon as its time is over."""
        until = self._monotonic() + awaited.within_s
        await self._spreading.until_here(awaited.incarnation, awaited.version, awaited.within_s)
        left_s = max(0.0, until - self._monotonic())
        return await self._consumers.until_applied(awaited.key, self._journal.number, left_s)

    def _ask(self, ask: Ask, awaited: Awaited) -> dict[Contact, _Asking]:
        now, contacts, links = self._monotonic(), self._replica.contacts, self._replica.links
        heard = (contact for contact in contacts if not contacts.silent(contact, now))
        return {c: _begun(ask(c.address, awaited)) for c in heard if links.has_reached(c.address)}


def _begun(asking: Coroutine[Any, Any, tuple[Consumer, ...] | None]) -> _Asking:
    """What this comes to; None once it is cancelled."""

    async def unless_cancelled() -> tuple[Consumer, ...] | None:
        try:
            return await asking
        except CancelledError:
            return None

    return Deferred.fromCoroutine(unless_cancelled())


async def _gathered(own: _Asking, asking: Mapping[Contact, _Asking]) -> tuple[list[Consumer], list[str]]:
    """The consumers of all who have said which they have, and the names of the nodes that did not."""
    known = [*(await own or ())]
    untold = []
    for contact, answer in asking.items():
        consumers = await answer
        known += consumers or ()
        untold += [contact.name] if consumers is None else []
    return _together(known), untold


def _together(consumers: Iterable[Consumer]) -> list[Consumer]:
    """Those of several nodes, in order of name; one that went from one node to another is where it is now."""
    known = sorted(consumers, key=lambda consumer: (consumer.name, consumer.node))
    connected = {consumer.name for consumer in known if consumer.connected}
    return [consumer for consumer in known if consumer.connected or consumer.name not in connected]


def _cancel(*deferreds: _Asking) -> None:
    for deferred in deferreds:
        deferred.cancel()
