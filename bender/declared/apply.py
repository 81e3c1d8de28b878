"""Apply a document: read the objects of a registry, and make the changes one after the other.

Nothing is changed before all objects are compared and all changes are checked. Each change of a backend or frontend
carries the tag of the compared object. So it never overwrites a change that another client made in the meantime: nodes
refuse it, and the changes after it are not made. Applying the document again makes the remaining changes.
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
from bender.declared.document import declared_fields, is_same_json
from bender.declared.preflight import PreflightProblem, foreseen_warnings, oversized, refusals, versions_concerned
from bender.net.addresses import NoAnswer

#: Limit for requests that list the members of one version. If more are needed, one request lists all registrations.
MEMBER_LISTS_MAX = 20

#: Seconds between two checks whether nodes are ready.
LOOK_INTERVAL_S = 0.2

#: Codes of refusals because of an earlier change: by another client, or by this client if an answer was lost.
_CONFLICT_CODES = ("STALE", "CONFLICT", "NOT_FOUND")


_NO_STATES = "runs an earlier release, which does not list the states of instances (drain, maint): they are left out"


@frozen
class Interrupted(BenderError):
    """A change was refused, or no node answered it.

    `made` are the changes before it, and `remaining` this change and those after it.
    """

    reason: str
    made: tuple[ConfigChange, ...]
    remaining: tuple[ConfigChange, ...]

    def __str__(self) -> str:
        return f"{self.remaining[0].id}: {self.reason}"


async def rehearse(
    client: Client, changes: Sequence[ConfigChange], contents: Contents
) -> tuple[list[PreflightProblem], list[str]]:
    """Return the changes that the registry would refuse, and its warnings about the others, by its present members."""
    versions = versions_concerned(changes, contents)
    if len(versions) > MEMBER_LISTS_MAX:
        members = [*await client.registrations()]
    else:
        members = [*chain(*[await client.registrations(app, version) for app, version in sorted(versions)])]
    return refusals(changes, contents, members), foreseen_warnings(changes, contents, members)


async def find_too_large(client: Client, changes: Sequence[ConfigChange]) -> list[PreflightProblem]:
    """Return the changes that are too large for the node that answers.

    A node of an earlier release does not show its limit; the default is assumed for it.
    """
    limit = (await client.status()).get("limits")
    entry = limit.get("entry") if isinstance(limit, dict) else None
    bytes_max = entry.get("max") if isinstance(entry, dict) else None
    return [*oversized(changes, bytes_max if isinstance(bytes_max, int) else ENTRY_BYTES_MAX)]


@frozen
class Applier:
    """Apply documents to the registry of a client.

    `wall_ms` returns the milliseconds since the epoch by this machine's wall clock, `seconds` the time of a clock that
    never jumps. `pause` waits for a number of seconds.
    """

    client: Client
    wall_ms: Callable[[], int]
    seconds: Callable[[], float]
    pause: Callable[[float], Awaitable[object]]

    async def wait_until_ready(self, within_s: float, on_wait: Callable[[str], None] = lambda _why: None) -> None:
        """Wait until a node is ready and no reachable node is not ready yet, for at most `within_s` seconds.

        If there is a wait, `on_wait` is called once with a clause about its reason. A node that was just started does
        not have all objects of the other nodes, and a change made there may lose against an earlier one.
        """
        ends_at = self.seconds() + within_s
        has_waited = False
        while self.seconds() < ends_at:
            found = [await self._is_ready(node) for node in self.client.nodes.in_turn()]
            if True in found and False not in found:
                return
            if not has_waited:
                has_waited = True
                on_wait("a node is not ready yet" if False in found else "no node answers yet")
            await self.pause(LOOK_INTERVAL_S)

    async def _is_ready(self, node: str) -> bool | None:
        """Return True if a node is ready, False if it is not, and None if it does not answer."""
        try:
            reply = await self.client.http.ask(node, "GET", "/ready", None, {}, 1.0, 4096)
        except NoAnswer:
            return None
        return reply.status == 200

    async def read_contents(self) -> Contents:
        """Return the backends, frontends and operators' states that the registry has."""
        backends = {each.name: declared_fields(each.settings) for each in await self.client.backends()}
        frontends = {each.name: declared_fields(each.settings) for each in await self.client.frontends()}
        try:
            states = await self.client.states()
        except NotFound as error:
            return Contents(backends, frontends, {}, self.wall_ms(), (f"{error.node} {_NO_STATES}",))
        return Contents(backends, frontends, {state.id: state for state in states}, self.wall_ms())

    async def with_tags(self, changes: ChangeSet) -> ChangeSet:
        """Return the changes with the tags of the changed objects.

        Raises `BenderError` if an object differs from the compared one.
        """
        return evolve(changes, changes=tuple([await self._with_tag(change) for change in changes.changes]))

    async def _with_tag(self, change: ConfigChange) -> ConfigChange:
        if change.kind == "state" or change.before is None:
            return change
        found = await current_object(self.client, change.id)
        if found is None or not is_same_json(declared_fields(found.settings), change.before):
            raise BenderError(f"{change.id} was changed by another client just now: try again")
        return evolve(change, etag=found.etag)

    async def make_changes(self, changes: Sequence[ConfigChange], *, force: bool) -> list[str]:
        """Make the changes in their order, and return the warnings of the nodes.

        Raises `Interrupted` at the first change that cannot be made.
        """
        warned: list[str] = []
        for number, change in enumerate(changes):
            try:
                warned += (await self._make(change, force=force)).warnings
            except BenderError as error:
                if await self._is_made(change, error):
                    continue
                reason = _conflict_text(change) if isinstance(error, Refused) and error.code == "STALE" else str(error)
                raise Interrupted(reason, tuple(changes[:number]), tuple(changes[number:])) from error
        return [*dict.fromkeys(warned)]

    async def _make(self, change: ConfigChange, *, force: bool) -> Reply:
        if change.kind == "state":
            return await self._set_state(change, force=force)
        path, condition = with_force(path_of(change.id), force=force), if_match_header(change.etag)
        if change.action == "remove":
            return (await self.client.read(read_nothing, "DELETE", path, headers=condition))[1]
        if change.action == "change":
            return (
                await self.client.read(
                    object_reader(change.id), "PUT", path, _fields_to_send(change), headers=condition
                )
            )[1]
        created = {**(change.after or {}), "name": change.name}
        path = with_force(f"/{change.kind}s", force=force)
        return (await self.client.read(object_reader(change.id), "POST", path, created))[1]

    async def _set_state(self, change: ConfigChange, *, force: bool) -> Reply:
        path = f"{path_of(change.name)}/state"
        # The answer has the remaining time of a state, so that its tag also changes when the state is not set again.
        if _identity(await self._present_state(path)) != _identity(change.present_state):
            raise BenderError(_conflict_text(change))
        if change.state is None:
            return (await self.client.read(read_nothing, "DELETE", path))[1]
        body = {
            "state": change.state.state,
            "for": min(max(LASTING_S_MIN, change.state.lasts_s(self.wall_ms())), LASTING_S_MAX),
        }
        try:
            return (await self.client.read(reader(Word), "PUT", with_force(path, force=force), body))[1]
        except NotFound:  # the instance is not registered yet, and gets the state when it is
            return (await self.client.read(reader(Word), "PUT", with_force(path, force=True), body))[1]

    async def _present_state(self, path: str) -> Word | None:
        try:
            word, _ = await self.client.read(reader(Word), "GET", path)
        except NotFound:
            return None
        return word

    async def _is_made(self, change: ConfigChange, error: BenderError) -> bool:
        """Return True if a refused change was already made by an earlier request whose answer was lost."""
        if change.kind == "state" or not isinstance(error, Refused) or error.code not in _CONFLICT_CODES:
            return False
        try:
            found = await current_object(self.client, change.id)
        except BenderError:  # this is unknown, so the refusal is reported, with the changes that were made before
            return False
        return is_same_json(None if found is None else declared_fields(found.settings), change.after)


def _identity(state: Word | None) -> tuple[str, float, int, str] | None:
    """Return a key that distinguishes a state from one that was set at another time."""
    return None if state is None else (state.state, state.lasts_s, state.at_ms, state.author)


def _fields_to_send(change: ConfigChange) -> dict[str, Any]:
    """Return the fields that differ, with null for fields that are not declared, which removes them."""
    before, after = change.before or {}, change.after or {}
    changed = {field: after[field] for field in changed_fields(before, after)}
    return changed | {field: None for field in before if field not in after}


def _conflict_text(change: ConfigChange) -> str:
    changed = f"another client has changed {change.id} in the meantime, and that change stays"
    return f"{changed}: apply the file again to compare it"
