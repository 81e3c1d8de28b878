"""Confirms to bender the events that HAProxy has applied.

So a client that deregisters an instance can wait until no request goes to it. The driver sends one request at a time,
to the node that it follows; later confirmations go with the next request.
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
from bender.client.decoding import decode_json
from bender.client.responses import refusal_of
from bender.haproxy.core.safe_text import printable
from bender.net.addresses import NoAnswer

#: Time limit for an answer, and the pause after a node has refused or not answered.
ANSWER_S_MAX = 2.0
RETRY_S = 1.0

#: The pause before the next request to a node that does not support consumers.
UNSUPPORTED_RETRY_S = 10.0

Report = Mapping[str, Any]


class _AcknowledgeReply(msgspec.Struct):
    """The part of a node's answer that is used here."""

    warning: str | None = None


class Acknowledger:
    """One consumer, by its name and instance."""

    _log = Logger()

    def __init__(self, client: Client, name: str, instance: str | None = None) -> None:
        """Confirm the events of the watch that has this `instance`."""
        self.name = name
        self.instance = instance
        #: The last position that a node has accepted.
        self.acknowledged: Stand | None = None
        #: Why the last confirmation was refused, or the warning with which it was accepted; None without either.
        self.problem: str | None = None
        #: Returns the report to send along; None to send none.
        self.report: Callable[[], Report] | None = None
        #: The node that the driver follows. It gets reports also before any of its events is applied.
        self.followed: str | None = None
        self._client = client
        self._path = f"/consumers/{quote(name, safe='')}"
        self._stand: Stand | None = None
        self._due = False
        self._sending: Deferred[None] | None = None
        self._warned: set[object] = set()

    def acknowledge(self, stand: Stand) -> None:
        """Confirm all events up to this position. Send it also if it is unchanged, because the stream may be new."""
        self._stand = stand
        self.send()

    def send(self) -> None:
        """Send the position and the report, also if both are unchanged."""
        self._due = True
        if self._sending is None and self._node is not None:
            self._sending = Deferred.fromCoroutine(self._send_until_done())
            self._sending.addErrback(self._failed)

    def close(self) -> None:
        if self._sending is not None:
            self._sending.cancel()

    @property
    def _node(self) -> str | None:
        """The node to send to; None if there is nothing to send, or no node."""
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
        """Send one request; return the seconds to wait before the next."""
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
            answer: _AcknowledgeReply = _AcknowledgeReply() if refusal else decode_json(reply.body, _AcknowledgeReply)
        except (NoAnswer, BenderError) as error:
            self.problem = f"{node} {printable(str(error))}"
            self._due = True  # a deregistration may wait for the confirmation
            return RETRY_S
        if refusal is None:
            self.acknowledged, self.problem = stand or self.acknowledged, None
            if answer.warning is not None:
                # Not the node's own text, because this goes into the log.
                self.problem = f"another program uses the name {self.name}: give each driver its own --name"
                self._warn_once(
                    "name", "Clients that wait for a deregistration wait for two programs with one name: {problem}."
                )
            return 0.0
        unknown = refusal.status == HTTPStatus.NOT_FOUND
        why = "does not support consumers" if unknown else f"refuses the confirmation: {printable(str(refusal))}"
        self.problem = f"{node} {why}"
        # Not keyed by the text, which may differ each time.
        self._warn_once((node, refusal.status), "Confirmations cannot be sent: {problem}.")
        return UNSUPPORTED_RETRY_S if unknown else RETRY_S

    def _warn_once(self, about: object, line: str) -> None:
        """Log the problem, once for each subject."""
        if about not in self._warned:
            self._warned.add(about)
            self._log.warn(line, problem=self.problem)

    def _failed(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            self._log.failure("Confirming the applied events failed; this is retried with the next event.", failure)
