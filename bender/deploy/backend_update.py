"""Change one backend, only if it still is as it was last seen.

A change is made once, whichever node makes it: if an answer is lost, the next node refuses the repetition. A change
never undoes that of another client: a backend that differs from the last change here raises `ChangedMeanwhile`, and is
not changed again.
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

#: Time limit without an answer of any node. Traffic continues meanwhile as it was.
UNANSWERED_S_MAX = 30.0
TRIED_AGAIN_S = 1.0

#: A node that answers in place of another may not have received the last change yet; it gets it within two rounds.
SPREAD_S_MAX = 5.0
LOOKED_AGAIN_S = 0.25

_T = TypeVar("_T")


class ChangedMeanwhile(Exception):
    """Another client has changed the backend. The message is a sentence without its full stop.

    `seen` are the settings of the backend, None if it was removed.
    """

    def __init__(self, message: str, seen: Settings | None) -> None:
        super().__init__(message)
        self.seen = seen


class Hold:
    """A backend that is changed here, and watched for changes by other clients.

    If no node answers, requests are repeated for `UNANSWERED_S_MAX`, after one call of `on_silence` with the reason,
    and then `Unavailable` is raised.
    """

    def __init__(self, reactor: IReactorTime, client: Client, name: str, on_silence: Callable[[str], None]) -> None:
        self.id = f"backend/{name}"
        #: The settings as they were found, and as they were set last.
        self.found: Settings = {}
        self.settings: Settings = {}
        #: Whether a change was requested and may or may not have been made.
        self.under_way = False
        #: The last answer of a node with it.
        self.reply = Reply("", 0, b"")
        self._reactor = reactor
        self._client = client
        self._on_silence = on_silence
        self._before: Settings = {}
        # The node that made the last change, and when.
        self._set_at = ("", 0.0)

    async def find(self) -> None:
        """Read the settings. Raises `NotFound`."""
        found, self.reply = await self._get()
        self.found = self.settings = found.settings

    async def is_as_set(self) -> bool:
        """Return True if it still is as it was set here, False at a node that does not know that yet.

        Raises `ChangedMeanwhile`.
        """
        seen, reply = await self.patiently(self._seen)
        if are_same(seen.settings, self.settings):
            self.reply = reply
            return True
        node, at = self._set_at
        if reply.node != node and are_same(seen.settings, self._before) and self._now < at + SPREAD_S_MAX:
            return False
        raise self._changed(seen, reply)

    async def change(
        self, change: Mapping[str, Any], condition: Mapping[str, Any] | None = None, *, force: bool = False
    ) -> None:
        """Change these fields, and return when a node shows them.

        Raises `Refused` if the condition is not met or, unless it is forced, traffic would be taken away.
        """
        wanted = {**self.settings, **change}
        self.under_way = True  # and stays so if that ends without an answer
        try:
            node = await self._put({**change, **(condition or {})}, wanted, force=force)
        except (ChangedMeanwhile, Refused):
            self.under_way = False
            raise
        self.under_way = False
        self._before, self.settings, self._set_at = self.settings, wanted, (node, self._now)
        while not await self.is_as_set():
            await self.pause(LOOKED_AGAIN_S)

    async def patiently(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """Ask until a node answers, for `UNANSWERED_S_MAX` at most."""
        ends_at = self._now + UNANSWERED_S_MAX
        has_reported = False
        while True:
            try:
                return await ask()
            except Unavailable as error:
                if self._now >= ends_at:
                    raise
                if not has_reported:
                    self._on_silence(str(error))
                has_reported = True
            await self.pause(TRIED_AGAIN_S)

    async def pause(self, seconds: float) -> None:
        await deferLater(self._reactor, seconds, lambda: None)

    async def _put(self, change: Mapping[str, Any], wanted: Settings, *, force: bool) -> str:
        """Make the change, and return the node that made it."""
        ends_at = self._now + SPREAD_S_MAX
        while True:
            try:
                _, reply = await self.patiently(lambda: self._asked_for(change, force=force))
            except Refused as refusal:
                if refusal.code != "STALE":
                    raise
            else:
                return reply.node
            seen, reply = await self.patiently(self._seen)
            if are_same(seen.settings, wanted):  # the answer was lost, or another client has made the same change
                return reply.node
            if not are_same(seen.settings, self.settings) or self._now >= ends_at:
                raise self._changed(seen, reply)
            self.reply = reply
            await self.pause(LOOKED_AGAIN_S)

    async def _asked_for(self, change: Mapping[str, Any], *, force: bool) -> tuple[Backend, Reply]:
        path = with_force(path_of(self.id), force=force)
        return await self._client.read(BACKEND_KIND.read, "PUT", path, change, headers=if_match_header(self.reply.etag))

    async def _seen(self) -> tuple[Backend, Reply]:
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
