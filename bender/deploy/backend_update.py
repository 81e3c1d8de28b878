"""Change one backend only if no other client has changed it in the meantime.

Each change is made only once, by any node: if an answer is lost, the next node refuses the repeated request. A change
never overwrites a change by another client: if the backend differs from the last change made here, `ChangedMeanwhile`
is raised and the backend is not changed again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from bender.client import Backend, Client, NotFound, Refused, Reply, Unavailable
from bender.client.paths import if_match_header, path_of, with_force
from bender.client.responses import BACKEND_KIND
from bender.deploy.plan import Settings, are_same

#: Seconds without an answer of any node before requests are given up, and between two attempts. The traffic does not
#: change during this time.
UNANSWERED_S_MAX = 30.0
RETRY_INTERVAL_S = 1.0

#: Seconds within which another node receives the last change, normally two rounds, and between two looks for it.
PROPAGATION_S_MAX = 5.0
RECHECK_INTERVAL_S = 0.25

_T = TypeVar("_T")


class ChangedMeanwhile(Exception):
    """Another client has changed the backend. The message is a sentence without its full stop.

    `settings` are the new settings of the backend, None if it was removed.
    """

    def __init__(self, message: str, settings: Settings | None) -> None:
        super().__init__(message)
        self.settings = settings


class BackendUpdate:
    """Change one backend, and notice changes by other clients.

    If no node answers, `on_no_answer` is called once with the reason, and requests are repeated for `UNANSWERED_S_MAX`.
    After that, `Unavailable` is raised.
    """

    def __init__(self, reactor: IReactorTime, client: Client, name: str, on_no_answer: Callable[[str], None]) -> None:
        self.id = f"backend/{name}"
        #: The settings before the first change, and after the last one.
        self.found: Settings = {}
        self.settings: Settings = {}
        #: Whether a change was requested, and it is unknown if it was made.
        self.has_unknown_outcome = False
        #: The last answer of a node with the backend.
        self.reply = Reply("", 0, b"")
        self._reactor = reactor
        self._client = client
        self._on_no_answer = on_no_answer
        self._before: Settings = {}
        # The node that made the last change, and the time.
        self._set_at = ("", 0.0)

    async def find(self) -> None:
        """Read the settings before the first change. Raises `NotFound` if the backend does not exist."""
        found, self.reply = await self._get()
        self.found = self.settings = found.settings

    async def is_as_set(self) -> bool:
        """Return True if the backend is still as it was set here, False if the node has not received that yet.

        Raises `ChangedMeanwhile` if another client has changed the backend.
        """
        seen, reply = await self.retry_until_answered(self._read)
        if are_same(seen.settings, self.settings):
            self.reply = reply
            return True
        node, at = self._set_at
        if reply.node != node and are_same(seen.settings, self._before) and self._now < at + PROPAGATION_S_MAX:
            return False
        raise self._changed(seen, reply)

    async def change(
        self, change: Mapping[str, Any], condition: Mapping[str, Any] | None = None, *, force: bool = False
    ) -> None:
        """Change these fields, and wait until a node shows them.

        Raises `Refused` if the condition is not met, or if the change would take traffic away and `force` is False.
        Raises `ChangedMeanwhile` if another client has changed the backend.
        """
        new_settings = {**self.settings, **change}
        self.has_unknown_outcome = True  # it stays True if no node answers
        try:
            node = await self._put({**change, **(condition or {})}, new_settings, force=force)
        except (ChangedMeanwhile, Refused):
            self.has_unknown_outcome = False
            raise
        self.has_unknown_outcome = False
        self._before, self.settings, self._set_at = self.settings, new_settings, (node, self._now)
        while not await self.is_as_set():
            await self.pause(RECHECK_INTERVAL_S)

    async def retry_until_answered(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """Call `ask` until a node answers, and return the answer. Raises `Unavailable` after `UNANSWERED_S_MAX`."""
        ends_at = self._now + UNANSWERED_S_MAX
        has_reported = False
        while True:
            try:
                return await ask()
            except Unavailable as error:
                if self._now >= ends_at:
                    raise
                if not has_reported:
                    self._on_no_answer(str(error))
                has_reported = True
            await self.pause(RETRY_INTERVAL_S)

    async def pause(self, seconds: float) -> None:
        """Wait for some seconds."""
        await deferLater(self._reactor, seconds, lambda: None)

    async def _put(self, change: Mapping[str, Any], new_settings: Settings, *, force: bool) -> str:
        """Make the change, and return the node that made it."""
        ends_at = self._now + PROPAGATION_S_MAX
        while True:
            try:
                _, reply = await self.retry_until_answered(lambda: self._request_change(change, force=force))
            except Refused as refusal:
                if refusal.code != "STALE":
                    raise
            else:
                return reply.node
            seen, reply = await self.retry_until_answered(self._read)
            if are_same(seen.settings, new_settings):  # the answer was lost, or another client has made the same change
                return reply.node
            if not are_same(seen.settings, self.settings) or self._now >= ends_at:
                raise self._changed(seen, reply)
            self.reply = reply
            await self.pause(RECHECK_INTERVAL_S)

    async def _request_change(self, change: Mapping[str, Any], *, force: bool) -> tuple[Backend, Reply]:
        path = with_force(path_of(self.id), force=force)
        return await self._client.read(BACKEND_KIND.read, "PUT", path, change, headers=if_match_header(self.reply.etag))

    async def _read(self) -> tuple[Backend, Reply]:
        try:
            return await self._get()
        except NotFound:
            raise ChangedMeanwhile(f"{self.id} was removed by another client", None) from None

    async def _get(self) -> tuple[Backend, Reply]:
        return await self._client.read(BACKEND_KIND.read, "GET", path_of(self.id))

    def _changed(self, seen: Backend, reply: Reply) -> ChangedMeanwhile:
        self.reply = reply
        return ChangedMeanwhile(f"{self.id} was changed by another client", seen.settings)

    @property
    def _now(self) -> float:
        now: float = self._reactor.seconds()
        return now
