"""Observers of each node: a watcher of its events, and regular requests for its status, lists and settings."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from itertools import pairwise
from random import Random
from typing import Any

from attrs import frozen

from tests.faults.facts import (
    FirstAnswer,
    HistoriesAnswer,
    ListAnswer,
    ReceivedEvent,
    StatusAnswer,
    Synced,
    WatcherDisconnected,
    description_of,
)
from tests.faults.rig.http import FAILURES, Unreached, ask
from tests.faults.rig.network import EVENTS_PORT, OBSERVER
from tests.faults.rig.nodes import Node
from tests.faults.rig.recorder import Recorder, now

#: The longest line of events.
LINE_BYTES_MAX = 64 * 1024

#: The pause before a watcher connects again, in intervals.
AGAIN = 0.1


class Watcher:
    """Follows the events of one node by the line protocol, over all its connections and starts.

    The watcher sometimes ends its connection, and resumes from its cursor.
    """

    def __init__(self, node: Node, interval_s: float, recorder: Recorder, seed: int) -> None:
        self._node = node
        self._interval_s = interval_s
        self._recorder = recorder
        self._random = Random(f"watcher {seed} {node.name}")
        self._cursor: str | None = None

    async def run(self) -> None:
        while True:
            with suppress(*FAILURES):
                async with asyncio.timeout(2 * self._interval_s):
                    reader, writer = await asyncio.open_connection(
                        self._node.address, EVENTS_PORT, local_addr=(OBSERVER, 0), limit=LINE_BYTES_MAX
                    )
                try:
                    subscribed: dict[str, Any] = {"snapshot": True}
                    if self._cursor is not None:
                        subscribed["since"] = self._cursor
                    writer.write(json.dumps({"subscribe": subscribed}).encode() + b"\n")
                    async with asyncio.timeout(self._random.uniform(8, 60) * self._interval_s):
                        await self._follow(reader)
                finally:
                    self._recorder.add(WatcherDisconnected(at=now(), node=self._node.name))
                    writer.transport.abort()
            await asyncio.sleep(AGAIN * self._interval_s)

    async def _follow(self, reader: asyncio.StreamReader) -> None:
        before: list[_Line] = []
        is_synced = False
        while line := await reader.readline():
            event = json.loads(line)
            kind, cursor = event["event"], event.get("cursor", "")
            if kind == "error":
                raise ValueError(event)
            if is_synced:
                self._take(_Line(now(), event))
            elif kind != "synced":
                before.append(_Line(now(), event))
            else:
                is_synced = True
                is_reset = any(each.kind == "reset" for each in before)
                for each in _subscribed(before):
                    self._take(each)
                self._cursor = cursor
                life = cursor.partition("-")[0]
                self._recorder.add(Synced(at=now(), node=self._node.name, life=life, reset=is_reset))

    def _take(self, line: _Line) -> None:
        event, kind, cursor = line.event, line.kind, line.cursor
        if kind not in _OF_A_KEY:
            self._cursor = cursor or self._cursor
            return
        shown = next(event[name] for name in ("registration", "backend", "frontend") if name in event)
        if not event.get("snapshot"):
            self._cursor = cursor
        announced = ReceivedEvent(
            at=line.at,
            node=self._node.name,
            life=cursor.partition("-")[0],
            cursor=cursor,
            event=kind,
            key=shown["id"],
            body=description_of(shown) if "registration" in event else unit_of(shown),
            reason=event.get("reason", ""),
            snapshot=bool(event.get("snapshot")),
        )
        self._recorder.add(announced)


_OF_A_KEY = ("online", "offline", "changed", "created", "removed")


@frozen
class _Line:
    """A line of a node, and the time of its arrival."""

    at: float
    event: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.event["event"])

    @property
    def cursor(self) -> str:
        return str(self.event.get("cursor", ""))

    @property
    def place(self) -> int:
        """The position of the line among the events of a node; -1 in a snapshot."""
        place = self.cursor.rpartition("-")[2]
        return int(place) if place.isdigit() else -1


def _subscribed(lines: list[_Line]) -> list[_Line]:
    """Return those of the first lines of a connection that answer the subscription.

    A connection begins with all new events. The line that replaces this subscription arrives a moment later; from there
    on, the positions of events begin again, after the cursor in the request.
    """
    begin = next((number + 1 for number, line in enumerate(lines) if line.kind == "reset"), 0)
    of_keys = [(number, line.place) for number, line in enumerate(lines) if number >= begin and line.kind in _OF_A_KEY]
    for (_, place), (number, next_place) in pairwise(of_keys):
        if 0 <= next_place <= place:
            return lines[number:]
    return lines[begin:]


def unit_of(setting: dict[str, Any] | None) -> str:
    """Return the unit that the operator has sent with a setting."""
    return str(((setting or {}).get("meta") or {}).get("unit", ""))


class Observer:
    """Requests the status of one node twice an interval, and its lists and settings less often."""

    def __init__(self, node: Node, interval_s: float, recorder: Recorder) -> None:
        self._node = node
        self._interval_s = interval_s
        self._recorder = recorder
        self._incarnation = ""
        self._answers = False

    async def run(self) -> None:
        looks = 0
        while True:
            at = now()
            await self._look()
            looks += 1
            if looks % 4 == 0:
                await self._list()
            if looks % 8 == 1:
                await self._configuration()
            # A starting node is asked more often, so that the time of its first answer is known well.
            await asyncio.sleep(max(0.05, at + self._interval_s / 2 - now()) if self._answers else 0.03)

    async def _ask(self, path: str) -> Any:
        try:
            reply = await ask(self._node.address, "GET", path, within_s=2 * self._interval_s)
        except (Unreached, *FAILURES):
            return None
        return reply.body if reply.status == 200 else None

    async def _look(self) -> None:
        sent_at, status, name = now(), await self._ask("/status"), self._node.name
        self._answers = status is not None
        if status is None:
            self._recorder.add(StatusAnswer(at=now(), sent_at=sent_at, node=name))
            return
        at, incarnation = now(), status["incarnation"]
        if incarnation != self._incarnation:
            self._incarnation = incarnation
            self._recorder.add(FirstAnswer(at=at, sent_at=sent_at, node=name, incarnation=incarnation))
        looked = StatusAnswer(
            at=at,
            sent_at=sent_at,
            node=name,
            incarnation=incarnation,
            ready=status["ready"],
            digest=status["digest"],
            claims=status["counts"]["claims"],
            held=status["counts"]["held"],
        )
        self._recorder.add(looked)

    async def _list(self) -> None:
        sent_at, listed = now(), await self._ask("/registrations")
        if listed is not None:
            bodies = {each["id"]: description_of(each) for each in listed}
            self._recorder.add(ListAnswer(at=now(), sent_at=sent_at, node=self._node.name, bodies=bodies))

    async def _configuration(self) -> None:
        """Request the history of each backend, which is empty for a backend that does not exist."""
        sent_at, settings = now(), {}
        for name in ("b0", "b1"):
            try:
                path = f"/backends/{name}/history"
                reply = await ask(self._node.address, "GET", path, within_s=2 * self._interval_s)
            except (Unreached, *FAILURES):
                return
            if reply.status not in (200, 404):
                return
            history = reply.body if reply.status == 200 else []
            settings[f"backend/{name}"] = [unit_of(each["backend"]) or None for each in history]
        self._recorder.add(HistoriesAnswer(at=now(), sent_at=sent_at, node=self._node.name, settings=settings))
