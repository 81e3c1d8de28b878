"""Tells bender how far HAProxy has got, so that whoever deregisters an instance can wait until no request goes there.

One request at a time, to the node that is followed; what comes meanwhile is told with the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from bender.client import BenderError, Client, Stand
from bender.client.decoding import decoded
from bender.client.responses import refusal_of
from bender.haproxy.core.safe_text import shown
from bender.net.addresses import NoAnswer

#: What a node may take for it, and how long it is let alone where it does not take it.
ANSWER_S_MAX = 2.0
AGAIN_S = 1.0

#: The same for a node that does not know of consumers.
UNKNOWN_S = 10.0

Report = Mapping[str, Any]


class _AcknowledgeReply(msgspec.Struct):
    """What a node answers, as far as it matters here."""

    warning: str | None = None


class Acknowledger:
    """One consumer, by its name and instance."""

    _log = Logger()

    def __init__(self, client: Client, name: str, instance: str | None = None) -> None:
        """`instance` is that of the watch whose events are confirmed."""
        self.name = name
        self.instance = instance
        #: What a node has been told last, and has taken.
        self.acknowledged: Stand | None = None
        #: Why a node was not told, if it was not, or took it with a warning.
        self.problem: str | None = None
        #: What is reported along with it; None for nothing.
        self.report: Callable[[], Report] | None = None
        #: The node that is followed, which takes the report also while nothing of what it says is done.
        self.followed: str | None = None
        self._client = client
        self._path = f"/consumers/{quote(name, safe='')}"
        self._stand: Stand | None = None
        self._due = False
        self._sending: Deferred[None] | None = None
        self._warned: set[object] = set()

    def acknowledge(self, stand: Stand) -> None:
        """All up to here is done. It is told also where it was before, for the stream may be another one."""
        self._stand = stand
        self.send()

    def send(self) -> None:
        """Tell where it stands, and the report, also if both are the same as before."""
        self._due = True
        if self._sending is None and self._node is not None:
            self._sending = Deferred.fromCoroutine(self._send_until_done())
            self._sending.addErrback(self._failed)

    def close(self) -> None:
        if self._sending is not None:
            self._sending.cancel()

    @property
    def _node(self) -> str | None:
        """The node to tell; None where there is nothing to tell, or nobody."""
        if self._stand is not None and self.followed in (None, self._stand.node):
            return self._stand.node
        return None if self.report is None else self.followed

    async def _send_until_done(self) -> None:
        try:
            while self._due and (node := self._node) is not None:
                self._due = False
                again_s = await self._send(node)
                if again_s:
                    await deferLater(self._client.reactor, again_s)
        finally:
            self._sending = None

    async def _send(self, node: str) -> float:
        """Tell it; returns for how long the node is to be let alone."""
        stand = self._stand if self._stand is not None and self._stand.node == node else None
        body: dict[str, Any] = {} if stand is None else {"cursor": stand.cursor}
        if self.instance is not None:
            body["instance"] = self.instance
        if self.report is not None:
            body["report"] = self.report()
        content = msgspec.json.encode(body)
        try:
            reply = await self._client.ask(node, "PUT", self._path, content, within_s=ANSWER_S_MAX)
            refusal = refusal_of(reply)
            answer: _AcknowledgeReply = _AcknowledgeReply() if refusal else decoded(reply.body, _AcknowledgeReply)
        except (NoAnswer, BenderError) as error:
            self.problem = f"{node} {shown(str(error))}"
            self._due = True  # somebody may be waiting for it
            return AGAIN_S
        if refusal is None:
            self.acknowledged, self.problem = stand or self.acknowledged, None
            if answer.warning is not None:
                # Not in the words of the node, for this ends up in the log.
                self.problem = f"another program uses the name {self.name}: give each driver its own --name"
                self._warn_once("name", "Deregistrations that wait need a confirmation from both: {problem}.")
            return 0.0
        unknown = refusal.status == HTTPStatus.NOT_FOUND
        why = "does not support consumers" if unknown else f"refuses the confirmation: {shown(str(refusal))}"
        self.problem = f"{node} {why}"
        # Not by the text, which may differ each time.
        self._warn_once((node, refusal.status), "Confirmations cannot be sent: {problem}.")
        return UNKNOWN_S if unknown else AGAIN_S

    def _warn_once(self, about: object, line: str) -> None:
        """Log the problem, once for each thing that it is about."""
        if about not in self._warned:
            self._warned.add(about)
            self._log.warn(line, problem=self.problem)

    def _failed(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            self._log.failure("Sending a confirmation failed; it is retried with the next event.", failure)
