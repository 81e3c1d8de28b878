"""Asking nodes: whichever answers.

A request goes to the node that answered last and, where that does not answer or is not ready, to the next one, until
all were tried once. All requests may be sent twice without harm: the second registers, renews, sets or removes what
the first did; a rollback, which must not, carries the tag of what it was decided on. What a node refuses is not tried
elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableSequence, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlencode

import msgspec

from bender.client.node_list import API_PORT, NODES_MAX, NodeList, parse_nodes
from bender.client.paths import explain_path, forced, guard_path, join_path, list_path, only_if, path_of
from bender.client.responses import (
    BACKEND_KIND,
    FRONTEND_KIND,
    ConfigKind,
    Explanation,
    NodeStatus,
    Reader,
    Renewals,
    read_as_dict,
    read_nothing,
    reader,
    refusal_of,
)
from bender.client.transport import ANSWER_BYTES_MAX, ConnectionSecurity, NodeSearch, Transport, one_by_one
from bender.client.types import (
    Applied,
    Backend,
    BenderError,
    Consumer,
    Frontend,
    Guarded,
    InstanceSpec,
    Member,
    Refused,
    Registration,
    Reply,
    Setting,
    Succeeded,
    Unavailable,
    Word,
)
from bender.net.addresses import NoAnswer

if TYPE_CHECKING:
    from twisted.web.iweb import IAgent

    from bender.client.watch import Watch
    from bender.net.reactor import Reactor

#: What a node may take to answer; it needs a millisecond, and an interval when it is back from a pause.
ANSWER_S_MAX = 5.0

#: A list of 100,000 registrations has 50 MB, and 400 MB if each is as large as it may be.
LIST_BYTES_MAX = 512 * 1024 * 1024

_T = TypeVar("_T")
_Object = TypeVar("_Object", bound=Backend | Frontend)


class Client:
    """Asks any of several nodes. All methods raise `Unavailable` where none answers, and `Refused` where one says no.

    `nodes` are as `parse_nodes` gives them; of others `learn` finds out, unless `learns` is False. `token` is shown to
    them, and `ca` are the certificates (PEM) of who signed theirs; what holds none raises `ValueError`. `author` is the
    name under which histories show what the client sets, before its address. `answer_s_max`
    is the seconds that each may take to answer. `shuffle` puts the nodes into the order in which they are tried, by
    default a random one. `agent` is for tests.

    A program without a reactor passes None for it and a `transport`, which knows the token and the certificates; such a
    client follows no events. `seeking` finds a node that answers where nothing is to be changed.

    A reactor that follows the wall clock is made to measure time by the monotonic clock, for all of the program, lest a
    change of the wall clock hold up renewals and timeouts.
    """

    def __init__(
        self,
        reactor: Reactor | None,
        nodes: Iterable[str] = (f"127.0.0.1:{API_PORT}",),
        *,
        token: str | None = None,
        ca: bytes | None = None,
        author: str | None = None,
        answer_s_max: float = ANSWER_S_MAX,
        shuffle: Callable[[MutableSequence[str]], None] | None = None,
        learns: bool = True,
        agent: IAgent | None = None,
        transport: Transport | None = None,
        seeking: NodeSearch = one_by_one,
    ) -> None:
        self.reactor = cast("Reactor", reactor)  # None only with a transport that follows no events
        if transport is None:  # with one, nothing of Twisted is imported: a short command must not wait for that
            from bender.client.twisted_http import Http  # noqa: PLC0415
            from bender.process.steady_clock import make_steady  # noqa: PLC0415

            make_steady(self.reactor)
            transport = Http(self.reactor, ConnectionSecurity(token, ca, author), agent)
        self.nodes = NodeList(nodes, shuffle or _shuffle())
        self.http = transport
        self._seeking = seeking
        self._answer_s_max = answer_s_max
        self._learns = learns
        #: How many requests were sent, to whichever nodes.
        self.requests = 0
        #: How many of them have changed something, or may have.
        self.changes = 0
        #: Called with each node that did not answer, and why, before the next one is tried. Set it to your own.
        self.on_problem: Callable[[str, str], None] = lambda _node, _problem: None

    async def close(self) -> None:
        """End the connections that are kept for the next request. More requests are possible afterwards."""
        await self.http.close()

    # Any request.

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        waiting_s: float = 0,
        within_s: float | None = None,
    ) -> Reply:
        """Send any request of the API, and get the answer as it came.

        `path` is percent-encoded already and has the query in it, and `body` is sent as JSON. `waiting_s` is for how
        long the request asks the node to wait before it answers, `within_s` what each may take if that is less than
        usual.
        """
        limits = {"waiting_s": waiting_s, "within_s": within_s, "bytes_max": LIST_BYTES_MAX}
        _, reply = await self.read(lambda _: None, method, path, body, headers=headers, **limits)
        return reply

    async def read(
        self, read: Reader[_T], method: str, path: str, body: object = None, **limits: Any
    ) -> tuple[_T, Reply]:
        """Send a request, and read the answer: its value, and how it came. The rest is as in `call`.

        A node from which nothing comes that can be read has given no answer.
        """
        content = None if body is None else msgspec.json.encode(body)
        problems: dict[str, str] = {}

        async def attempt(node: str) -> tuple[_T, Reply] | Refused:
            reply = await self.ask(node, method, path, content, **limits)
            return refusal_of(reply) or (read(reply), reply)

        def note(node: str, no_answer: NoAnswer) -> None:
            problems[node] = str(no_answer)
            self.on_problem(node, problems[node])

        seeking = self._seeking if method == "GET" else one_by_one
        found = await seeking(self.nodes.in_turn(), attempt, note)
        if found is None:
            raise Unavailable(problems)
        node, answer = found
        self.nodes.answered(node)
        if isinstance(answer, Refused):
            raise answer
        self.changes += method != "GET"
        return answer

    async def _value(self, read: Reader[_T], method: str, path: str, body: object = None, **limits: Any) -> _T:
        found, _ = await self.read(read, method, path, body, **limits)
        return found

    async def _list(self, read: Reader[_T], path: str) -> _T:
        return await self._value(read, "GET", path, bytes_max=LIST_BYTES_MAX)

    async def ask(
        self,
        node: str,
        method: str,
        path: str,
        content: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        waiting_s: float = 0,
        within_s: float | None = None,
        bytes_max: int = ANSWER_BYTES_MAX,
    ) -> Reply:
        """Ask one node. Raises `NoAnswer` where it gives none, not now or not more; what it refuses is an answer.

        All of the answer has to come in time, and in no more than `bytes_max`.
        """
        self.requests += 1
        limit_s = min(self._answer_s_max, within_s or self._answer_s_max) + waiting_s
        reply = await self.http.ask(node, method, path, content, headers or {}, limit_s, bytes_max)
        if reply.status == HTTPStatus.SERVICE_UNAVAILABLE:
            raise NoAnswer("is not ready: it has not heard from all of its peers yet")
        if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise NoAnswer("has no room for more")
        if (
            not HTTPStatus.OK <= reply.status < HTTPStatus.INTERNAL_SERVER_ERROR
        ):  # what stands before it, or a mistake of ours
            raise NoAnswer(f"answers with status {reply.status}")
        return reply

    # Registrations.

    async def register(
        self,
        app: str,
        version: str,
        host: str,
        port: int,
        *,
        ttl_s: float | None = None,
        weight: int | None = None,
        meta: Mapping[str, Any] | None = None,
        instance: str | None = None,
        within_s: float | None = None,
    ) -> Registration:
        """Register an instance, or renew it. A term that is not given keeps its value, or gets the node's default.

        The registration expires `ttl_s` seconds after its last renewal. `weight` (0 to 256) is the share of the load,
        relative to other instances, and `meta` are fields of your own. `instance`, a token of 1 to 64 printable
        characters, tells this instance apart from others that register under the same id, for `deregister`.
        `within_s` limits the wait for each node before the next is asked, if it is less than the usual limit.
        """
        spec = InstanceSpec(app, version, host, port, ttl_s, weight, meta)
        return await self.register_spec(spec, instance=instance, within_s=within_s)

    async def register_spec(
        self, spec: InstanceSpec, *, instance: str | None = None, within_s: float | None = None
    ) -> Registration:
        """Do the same as `register` for an instance that is described by one value."""
        sent = spec.fields() if instance is None else {**spec.fields(), "instance": instance}
        return await self._value(reader(Registration), "POST", "/registrations", sent, within_s=within_s)

    async def renew(self, id_: str) -> Registration:
        """Renew an instance and change nothing of it. Raises `NotFound` where it is not registered (any more)."""
        return await self._value(reader(Registration), "PUT", path_of(id_))

    async def renew_all(self, ids: Sequence[str], *, within_s: float | None = None) -> list[str]:
        """Renew up to 1,000 instances at once; returns the ids that are not registered (any more).

        `within_s` is what each node may take before another one is asked, if that is less than usual.
        """
        return (await self._value(reader(Renewals), "POST", "/renewals", {"ids": ids}, within_s=within_s)).unknown

    async def deregister(
        self,
        id_: str,
        *,
        instance: str | None = None,
        reason: str | None = None,
        wait_s: float | None = None,
        within_s: float | None = None,
    ) -> Applied | None:
        """Remove an instance. Raises `NotFound` where it is not registered (any more).

        With `instance`, the token that it was registered with, raises `Succeeded` and removes nothing where another
        instance has registered under the id since. `reason` is `check-failed` if that is why; events give it then.
        With `wait_s` (up to 60) wait until all nodes have it, so many seconds at most, and return which have.
        `within_s` is what each node may take beyond that, if it is less than usual.
        """
        sent = {"instance": instance, "reason": reason, "wait": None if wait_s is None else f"{wait_s:.3f}"}
        query = urlencode({name: value for name, value in sent.items() if value is not None})
        path = path_of(id_) + (f"?{query}" if query else "")
        try:
            if wait_s is None:
                await self._value(read_nothing, "DELETE", path, within_s=within_s)
                return None
            return await self._value(reader(Applied), "DELETE", path, waiting_s=wait_s, within_s=within_s)
        except Refused as refused:
            if instance is not None and refused.code == "CONFLICT":
                raise Succeeded(refused.status, refused.code, str(refused), refused.node) from refused
            raise

    async def registration(self, id_: str) -> Registration:
        """An instance, if it is listed. Raises `NotFound` otherwise."""
        return await self._value(reader(Registration), "GET", path_of(id_))

    async def registrations(
        self, app: str | None = None, version: str | None = None, *, meta: Mapping[str, str] | None = None
    ) -> list[Registration]:
        """What is listed, in order of id: all, or of an app, or of a version of it.

        With `meta` only what has all of that in its own; what is no text there counts as its JSON, such as `true`.
        """
        return await self._list(reader(list[Registration]), list_path(app, version, meta or {}))

    async def set_state(self, id_: str, state: str, *, for_s: float | None = None, force: bool = False) -> Word:
        """Say that an instance is to be drained (`drain`), out for maintenance (`maint`), or `up` whatever its health.

        It holds for `for_s` seconds, a day if not said, through restarts of the instance. Raises `NotFound` where no
        node knows anything of it, and `Refused` where it is the last member of a backend that takes traffic, unless
        that is forced.
        """
        said = {"state": state} if for_s is None else {"state": state, "for": for_s}
        return await self._value(reader(Word), "PUT", forced(f"{path_of(id_)}/state", force=force), said)

    async def state(self, id_: str) -> Word:
        """What an operator says of an instance. Raises `NotFound` where nobody has said anything."""
        return await self._value(reader(Word), "GET", f"{path_of(id_)}/state")

    async def states(self) -> list[Word]:
        """Return the states that operators have set, in order of id, also of instances that are not registered.

        Raises `NotFound` where the node that answers is of a release that does not list them.
        """
        return await self._list(reader(list[Word]), "/states")

    async def take_back_state(self, id_: str) -> None:
        """Take back what an operator said. Raises `NotFound` where nobody has said anything."""
        await self._value(read_nothing, "DELETE", f"{path_of(id_)}/state")

    async def guarded(self) -> list[Guarded]:
        """The apps with members that the node which answers lists on suspicion."""
        return await self._list(reader(list[Guarded]), "/guard")

    async def end_guard(self, app: str) -> None:
        """Have the suspects of an app hidden, on all nodes, and have it guarded no more for as long as guards are.

        Raises `NotFound` where the node that answers has none.
        """
        await self._value(read_nothing, "DELETE", guard_path(app))

    async def explain(self, id_: str) -> dict[str, Any]:
        """Why an instance is listed or not, and what each node knows of it, as `GET /explain/…` answers it.

        Raises `NotFound` if no node knows anything.
        """
        return await self._value(read_as_dict(Explanation), "GET", explain_path(id_))

    async def consumers(self) -> list[Consumer]:
        """Who acts on events, at all nodes, in order of name; those that are gone for less than ten minutes, too."""
        return await self._list(reader(list[Consumer]), "/consumers")

    # Backends and frontends.

    async def backends(self) -> list[Backend]:
        """Return all backends, in order of name."""
        return await self._list(BACKEND_KIND.read_list, BACKEND_KIND.path)

    async def backend(self, name: str) -> Backend:
        """Return one backend, with its tag. Raises `NotFound`."""
        return await self._object(BACKEND_KIND, name)

    async def set_backend(
        self, name: str, *, if_match: str | None = None, force: bool = False, **settings: Any
    ) -> Backend:
        """Change these fields of a backend, or create it; a new backend needs `app` and `version`.

        `min_members` is a condition: the version has at least this number of members online. So is `if_match`, a tag:
        the backend is still as it was when a node sent that tag. If a condition is not met this raises `Refused`, with
        the code `CONFLICT` or `STALE`; with `CONFLICT` also if the change takes traffic away from a backend that
        serves, unless `force` is given.
        """
        return await self._set(BACKEND_KIND, name, settings, if_match, force=force)

    async def backend_history(self, name: str) -> list[Setting]:
        """Return the last 20 settings of a backend, newest first. Raises `NotFound` if it never existed."""
        return await self._history(BACKEND_KIND, name)

    async def roll_back_backend(self, name: str, *, force: bool = False) -> Backend:
        """Restore the previous setting of a backend. Raises `NotFound`, or `Refused` if there is no previous one.

        This happens once: if an answer is lost and another node is asked, that node refuses the request as `STALE`.
        """
        return await self._roll_back(BACKEND_KIND, name, force=force)

    async def remove_backend(self, name: str, *, force: bool = False) -> None:
        """Remove a backend. Raises `NotFound`, and `Refused` if a frontend sends to it while it serves."""
        await self._value(read_nothing, "DELETE", forced(join_path("backends", name), force=force))

    async def members(self, name: str) -> list[Member]:
        """Return the members of a backend, in order of id. Raises `NotFound` if there is no such backend."""
        return await self._list(reader(list[Member]), join_path("backends", name, "members"))

    async def frontends(self) -> list[Frontend]:
        """Return all frontends, in order of name."""
        return await self._list(FRONTEND_KIND.read_list, FRONTEND_KIND.path)

    async def frontend(self, name: str) -> Frontend:
        """Return one frontend, with its tag. Raises `NotFound`."""
        return await self._object(FRONTEND_KIND, name)

    async def set_frontend(
        self, name: str, *, if_match: str | None = None, force: bool = False, **settings: Any
    ) -> Frontend:
        """Change these fields of a frontend, or create it; `if_match` and `force` are as in `set_backend`.

        While the frontend does not serve, its `backend` need not exist yet. The backends of its rules must exist.
        """
        return await self._set(FRONTEND_KIND, name, settings, if_match, force=force)

    async def frontend_history(self, name: str) -> list[Setting]:
        """Return the last 20 settings of a frontend, newest first. Raises `NotFound` if it never existed."""
        return await self._history(FRONTEND_KIND, name)

    async def roll_back_frontend(self, name: str, *, force: bool = False) -> Frontend:
        """Restore the previous setting of a frontend, as `roll_back_backend` does."""
        return await self._roll_back(FRONTEND_KIND, name, force=force)

    async def remove_frontend(self, name: str) -> None:
        """Remove a frontend. Raises `NotFound`."""
        await self._value(read_nothing, "DELETE", join_path("frontends", name))

    async def _object(self, kind: ConfigKind[_Object], name: str) -> _Object:
        return await self._value(kind.read, "GET", kind.path + join_path(name))

    async def _set(
        self, kind: ConfigKind[_Object], name: str, settings: object, if_match: str | None, *, force: bool
    ) -> _Object:
        path = forced(kind.path + join_path(name), force=force)
        return await self._value(kind.read, "PUT", path, settings, headers=only_if(if_match))

    async def _history(self, kind: ConfigKind[_Object], name: str) -> list[Setting]:
        return await self._value(kind.read_history, "GET", kind.path + join_path(name, "history"))

    async def _roll_back(self, kind: ConfigKind[_Object], name: str, *, force: bool) -> _Object:
        before = await self._object(kind, name)
        path = forced(kind.path + join_path(name, "rollback"), force=force)
        return await self._value(kind.read, "POST", path, headers=only_if(before.etag))

    # Nodes.

    async def status(self) -> dict[str, Any]:
        """How the node that answers is, and how it sees the others, as `GET /status` answers it."""
        return await self._value(read_as_dict(NodeStatus), "GET", "/status")

    async def learn(self) -> None:
        """Find out where the other nodes are, to go on there when those that were given do not answer.

        Nothing is raised where no node answers, or none knows of others.
        """
        if not self._learns:
            return
        with suppress(BenderError):
            self.nodes.learn(apis(await self._value(reader(NodeStatus), "GET", "/status")))

    def watch(
        self,
        app: str | None = None,
        version: str | None = None,
        *,
        name: str | None = None,
        instance: str | None = None,
    ) -> Watch:
        """What is listed now, and then every change: of everything, or of an app, or of a version of it.

        With a `name` the watcher is a consumer: who deregisters and waits, waits until it has acknowledged that. Its
        `instance`, a token of up to 64 letters, digits, dashes and underscores, tells it apart from another program
        with this name; a random one is chosen if none is given.
        """
        from bender.client.watch import Watch  # noqa: PLC0415 - it needs Twisted

        return Watch(self, app, version, name=name, instance=instance)


def _shuffle() -> Callable[[MutableSequence[str]], None]:
    import random  # noqa: PLC0415 - a short command, which asks nodes in their order, does without

    return random.shuffle


def apis(status: NodeStatus) -> list[str]:
    """Where clients reach the other nodes, as far as a node's status says; `NODES_MAX` of them at most."""
    found: list[str] = []
    for peer in status.peers:
        if peer.api and peer.state != "left" and len(found) < NODES_MAX:
            with suppress(ValueError):
                found += parse_nodes(peer.api)
    return found
