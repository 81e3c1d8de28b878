"""Apply a document: read what a registry has, and make the changes one after the other.

Nothing is changed before all is compared and checked. Each change of a backend or frontend carries the tag of what was
compared, so no change by another client meanwhile is overwritten: ours is refused, and those after it are not
tried. Applying the document again goes on from there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Any

from attrs import evolve, frozen

from bender.client import BenderError, Client, NotFound, Refused, Reply, Word
from bender.client.objects import current_object, object_reader
from bender.client.paths import if_match_header, path_of, with_force
from bender.client.responses import read_nothing, reader
from bender.core.admin_state import LASTING_S_MIN
from bender.core.last_writer_wins import LASTING_S_MAX
from bender.core.model import ENTRY_BYTES_MAX
from bender.declared.config_diff import ChangeSet, ConfigChange, Contents, changed_fields
from bender.declared.document import declared_fields, same
from bender.declared.preflight import PreflightProblem, objections, oversized, versions_concerned, warnings
from bender.net.addresses import NoAnswer

#: Lists of the members of a version. If more are needed, all that is registered is fetched in one piece.
LISTS_MAX = 20

#: Between two looks at whether nodes are ready.
LOOKS_APART_S = 0.2

#: Codes of refusals after a change by another client, or by this one if an answer was lost.
_OVERTAKEN = ("STALE", "CONFLICT", "NOT_FOUND")


_NO_STATES = "is of an earlier release, which does not list operators' states: they are left out"


@frozen
class Interrupted(BenderError):
    """A change was refused, or no node answered. `done` are the changes before it, `left` it and those after it."""

    why: str
    done: tuple[ConfigChange, ...]
    left: tuple[ConfigChange, ...]

    def __str__(self) -> str:
        return f"{self.left[0].id}: {self.why}"


async def rehearse(
    client: Client, changes: Sequence[ConfigChange], contents: Contents
) -> tuple[list[PreflightProblem], list[str]]:
    """Return what the registry would refuse of the changes and warn of, by the members that it has now."""
    versions = versions_concerned(changes, contents)
    if len(versions) > LISTS_MAX:
        members = [*await client.registrations()]
    else:
        members = [*chain(*[await client.registrations(app, version) for app, version in sorted(versions)])]
    return objections(changes, contents, members), warnings(changes, contents, members)


async def too_large(client: Client, changes: Sequence[ConfigChange]) -> list[PreflightProblem]:
    """Return the changes that are too large for the node that answers, of which the first would end the others.

    A node of an earlier release does not show its limit, and has the default.
    """
    limit = (await client.status()).get("limits")
    entry = limit.get("entry") if isinstance(limit, dict) else None
    bytes_max = entry.get("max") if isinstance(entry, dict) else None
    return [*oversized(changes, bytes_max if isinstance(bytes_max, int) else ENTRY_BYTES_MAX)]


@frozen
class Applier:
    """Applies documents to the registry that a client asks.

    `wall_ms` is the wall clock of this machine, `seconds` a clock that never jumps, and `pause` lets time pass.
    """

    client: Client
    wall_ms: Callable[[], int]
    seconds: Callable[[], float]
    pause: Callable[[float], Awaitable[object]]

    async def until_ready(self, within_s: float, on_wait: Callable[[str], None] = lambda _why: None) -> None:
        """Wait until a node is ready, and no other is still about to be; `within_s` seconds at most.

        `on_wait` is called once, with a clause about what is waited for, if there is something.
        A node that was just started lacks what others have. What is set there may be older than what they have.
        """
        ends_at = self.seconds() + within_s
        waits = False
        while self.seconds() < ends_at:
            found = [await self._is_ready(node) for node in self.client.nodes.in_turn()]
            if True in found and False not in found:
                return
            if not waits:
                waits = True
                on_wait("a node is not ready yet" if False in found else "no node answers yet")
            await self.pause(LOOKS_APART_S)

    async def _is_ready(self, node: str) -> bool | None:
        """Return whether a node is ready, None if it does not answer."""
        try:
            reply = await self.client.http.ask(node, "GET", "/ready", None, {}, 1.0, 4096)
        except NoAnswer:
            return None
        return reply.status == 200

    async def contents(self) -> Contents:
        """Return what the registry has."""
        backends = {each.name: declared_fields(each.settings) for each in await self.client.backends()}
        frontends = {each.name: declared_fields(each.settings) for each in await self.client.frontends()}
        try:
            words = await self.client.states()
        except NotFound as error:
            return Contents(backends, frontends, {}, self.wall_ms(), (f"{error.node} {_NO_STATES}",))
        return Contents(backends, frontends, {word.id: word for word in words}, self.wall_ms())

    async def tagged(self, changes: ChangeSet) -> ChangeSet:
        """Return the changes with the tags of what is changed; raises `BenderError` if that is not as compared."""
        return evolve(changes, changes=tuple([await self._tagged(change) for change in changes.changes]))

    async def _tagged(self, change: ConfigChange) -> ConfigChange:
        if change.kind == "state" or change.before is None:
            return change
        found = await current_object(self.client, change.id)
        if found is None or not same(declared_fields(found.settings), change.before):
            raise BenderError(f"{change.id} was changed by another client just now: try again")
        return evolve(change, etag=found.etag)

    async def carry_out(self, changes: Sequence[ConfigChange], *, force: bool) -> list[str]:
        """Make the changes in their order; returns what the nodes warned of.

        Raises `Interrupted` at the first that cannot be made.
        """
        warned: list[str] = []
        for number, change in enumerate(changes):
            try:
                warned += (await self._make(change, force=force)).warnings
            except BenderError as error:
                if await self._is_made(change, error):
                    continue
                why = _overtaken(change) if isinstance(error, Refused) and error.code == "STALE" else str(error)
                raise Interrupted(why, tuple(changes[:number]), tuple(changes[number:])) from error
        return [*dict.fromkeys(warned)]

    async def _make(self, change: ConfigChange, *, force: bool) -> Reply:
        if change.kind == "state":
            return await self._set_state(change, force=force)
        path, only = with_force(path_of(change.id), force=force), if_match_header(change.etag)
        if change.action == "remove":
            return (await self.client.read(read_nothing, "DELETE", path, headers=only))[1]
        if change.action == "change":
            return (await self.client.read(object_reader(change.id), "PUT", path, _sent(change), headers=only))[1]
        created = {**(change.after or {}), "name": change.name}
        path = with_force(f"/{change.kind}s", force=force)
        return (await self.client.read(object_reader(change.id), "POST", path, created))[1]

    async def _set_state(self, change: ConfigChange, *, force: bool) -> Reply:
        plain = f"{path_of(change.name)}/state"
        # What is left of a state is in the answer, so its tag says nothing about whether it was set anew.
        if _set_when(await self._word(plain)) != _set_when(change.word):
            raise BenderError(_overtaken(change))
        if change.state is None:
            return (await self.client.read(read_nothing, "DELETE", plain))[1]
        body = {
            "state": change.state.state,
            "for": min(max(LASTING_S_MIN, change.state.lasts_s(self.wall_ms())), LASTING_S_MAX),
        }
        try:
            return (await self.client.read(reader(Word), "PUT", with_force(plain, force=force), body))[1]
        except NotFound:  # the instance is not registered yet, and the state is meant for when it is
            return (await self.client.read(reader(Word), "PUT", with_force(plain, force=True), body))[1]

    async def _word(self, path: str) -> Word | None:
        try:
            word, _ = await self.client.read(reader(Word), "GET", path)
        except NotFound:
            return None
        return word

    async def _is_made(self, change: ConfigChange, error: BenderError) -> bool:
        """Return True if a change that was refused is made, because the answer to the first request was lost."""
        if change.kind == "state" or not isinstance(error, Refused) or error.code not in _OVERTAKEN:
            return False
        try:
            found = await current_object(self.client, change.id)
        except BenderError:  # nobody knows, and the refusal is reported with what was done before
            return False
        return same(None if found is None else declared_fields(found.settings), change.after)


def _set_when(word: Word | None) -> tuple[str, float, int, str] | None:
    """Return a key that tells a state from one that was set at another time."""
    return None if word is None else (word.state, word.lasts_s, word.at_ms, word.author)


def _sent(change: ConfigChange) -> dict[str, Any]:
    """Return the fields that differ; null takes back a field that is not declared."""
    before, after = change.before or {}, change.after or {}
    changed = {field: after[field] for field in changed_fields(before, after)}
    return changed | {field: None for field in before if field not in after}


def _overtaken(change: ConfigChange) -> str:
    return (
        f"another client has changed {change.id} meanwhile, and that change stays: apply the file again to compare anew"
    )
