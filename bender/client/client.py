"""Send requests to any node that answers.

A request goes to the node that answered last. If that node does not answer or is not ready, the client asks the next
node, until it has asked all nodes once. Sending a request twice does no harm: the second request registers, renews,
sets or removes the same as the first. A rollback carries the tag of the setting that it replaces, so it happens only
once. A request that a node refuses is not sent to another node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableSequence, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlencode

import msgspec

from bender.client.node_list import API_PORT, NodeList
from bender.client.paths import explain_path, guard_path, if_match_header, join_path, list_path, path_of, with_force
from bender.client.responses import (
    BACKEND_KIND,
    DENIED,
    FRONTEND_KIND,
    ConfigKind,
    Explanation,
    NodeStatus,
    Reader,
    Renewals,
    api_addresses,
    read_as_dict,
    read_nothing,
    reader,
    refusal_of,
    require_service,
)
from bender.client.token_source import CurrentToken, TokenSource
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

#: Time limit for an answer; a node needs a millisecond, and an interval after a pause.
ANSWER_S_MAX = 5.0

#: A list of 100,000 registrations has 50 MB, and 400 MB if each is as large as it may be.
LIST_BYTES_MAX = 512 * 1024 * 1024

_T = TypeVar("_T")
_Object = TypeVar("_Object", bound=Backend | Frontend)


class Client:
    """Send requests to any of several nodes.

    All methods raise `Unavailable` if no node answers, and `Refused` if a node refuses the request.

    - `nodes` are addresses as `parse_nodes` returns them. `learn` adds the other nodes, unless `learns` is False.
    - `token` is sent to the nodes. If `token` is a function, the client calls it now to get the token, and again when a
      node does not know the token.
    - `ca` has the certificates (PEM) of the authorities that signed the certificates of the nodes. `ValueError` is
      raised if `ca` has no certificate. Without `ca`, the token is sent only to nodes on this machine and to `https://`
      nodes, unless `insecure` is True.
    - `author` is the name that histories show for changes by this client, before its address.
    - `answer_s_max` is the number of seconds that each node has to answer.
    - `shuffle` puts the nodes into the order in which they are tried. The default order is random.
    - `transport` replaces the transport on `reactor`, which is then None. The transport has the token and the
      certificates. Such a client cannot follow events.
    - `seeking` finds a node that answers, for requests that change nothing.
    - `agent` is for tests.

    If the reactor follows the wall clock, the client makes it follow the monotonic clock, for the whole program.
    Otherwise, a change of the wall clock would delay renewals and timeouts.
    """

    def __init__(
        self,
        reactor: Reactor | None,
        nodes: Iterable[str] = (f"127.0.0.1:{API_PORT}",),
        *,
        token: TokenSource = None,
        ca: bytes | None = None,
        author: str | None = None,
        insecure: bool = False,
        answer_s_max: float = ANSWER_S_MAX,
        shuffle: Callable[[MutableSequence[str]], None] | None = None,
        learns: bool = True,
        agent: IAgent | None = None,
        transport: Transport | None = None,
        seeking: NodeSearch = one_by_one,
    ) -> None:
        self._token = CurrentToken(token)
        self.reactor = cast("Reactor", reactor)  # None only with a transport that cannot follow events
        if transport is None:  # a short command passes a transport, so that it need not wait for the import of Twisted
            from bender.client.twisted_http import Http  # noqa: PLC0415
            from bender.process.steady_clock import make_steady  # noqa: PLC0415

            make_steady(self.reactor)
            transport = Http(self.reactor, ConnectionSecurity(self._token.text, ca, author, insecure), agent)
        self.nodes = NodeList(nodes, shuffle or _shuffle())
        self.http = transport
        self._seeking = seeking
        self._answer_s_max = answer_s_max
        self._learns = learns
        #: The number of requests that the client has sent, to all nodes together.
        self.requests = 0
        #: The number of successful requests that are not a `GET`, each of which may have changed something.
        self.changes = 0
        #: Called with each node that did not answer, and the reason, before the next node is asked. Assign your own.
        self.on_problem: Callable[[str, str], None] = lambda _node, _problem: None

    async def close(self) -> None:
        """Close the idle connections. The client can still send requests afterwards."""
        await self.http.close()

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
        """Send any request of the API, and return the unchanged answer.

        `path` is percent-encoded and includes the query. `body` is sent as JSON. `waiting_s` is the number of seconds
        for which the request makes the node wait before it answers. `within_s` is the number of seconds that each node
        has to answer, not counting `waiting_s`; it has no effect if it is more than `answer_s_max`.
        """
        limits = {"waiting_s": waiting_s, "within_s": within_s, "bytes_max": LIST_BYTES_MAX}
        _, reply = await self.read(lambda _: None, method, path, body, headers=headers, **limits)
        return reply

    async def read(
        self, read: Reader[_T], method: str, path: str, body: object = None, **limits: Any
    ) -> tuple[_T, Reply]:
        """Send a request as `call` does, and return the value that `read` finds in the answer, and the answer.

        If `read` raises `NoAnswer`, or the node denies access, the client asks the next node: while operators replace
        a token on one node after the other, some nodes do not know it.
        """
        content = None if body is None else msgspec.json.encode(body)
        problems: dict[str, str] = {}
        denials: dict[str, Refused] = {}

        async def attempt(node: str) -> tuple[_T, Reply] | Refused:
            reply = await self.ask(node, method, path, content, **limits)
            if reply.status == HTTPStatus.UNAUTHORIZED and self.read_token_again():
                reply = await self.ask(node, method, path, content, **limits)
            refusal = refusal_of(reply)
            if refusal is not None and refusal.status in DENIED:
                denials[node] = refusal
                raise NoAnswer(f"denies access ({refusal})")
            return refusal or (read(reply), reply)

        def note(node: str, no_answer: NoAnswer) -> None:
            problems[node] = str(no_answer)
            self.on_problem(node, problems[node])

        seeking = self._seeking if method == "GET" else one_by_one
        found = await seeking(self.nodes.in_turn(), attempt, note)
        if found is None:
            if denials and denials.keys() == problems.keys():
                raise next(iter(denials.values()))
            raise Unavailable(problems)
        node, answer = found
        self.nodes.note_answer(node)
        if isinstance(answer, Refused):
            raise answer
        self.changes += method != "GET"
        return answer

    def read_token_again(self) -> bool:
        """Read the token again from its source. Return True if it has changed; the new token is sent from now on."""
        changed = self._token.read_again()
        if changed:
            self.http.use_token(self._token.text)
        return changed

    async def _value(self, read: Reader[_T], method: str, path: str, body: object = None, **limits: Any) -> _T:
        return (await self.read(read, method, path, body, **limits))[0]

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
        """Send a request to one node, and return its answer, which may be a refusal.

        Raises `NoAnswer` if the node does not answer or cannot serve now, if the whole answer does not arrive in time,
        or if it has more than `bytes_max` bytes.
        """
        self.requests += 1
        limit_s = min(self._answer_s_max, within_s or self._answer_s_max) + waiting_s
        reply = await self.http.ask(node, method, path, content, headers or {}, limit_s, bytes_max)
        require_service(reply.status)
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
        """Register an instance, or renew it and change its terms.

        The registration expires `ttl_s` seconds after its last renewal. `weight` (0 to 256) is the share of the load,
        relative to other instances. `meta` has fields of your own. A term that is None keeps its value, or gets the
        node's default in a new registration. `instance` is a token of 1 to 64 printable characters: `deregister` uses
        it to distinguish this instance from others that register under the same id. `within_s` is as in `call`.
        """
        spec = InstanceSpec(app, version, host, port, ttl_s, weight, meta)
        return await self.register_spec(spec, instance=instance, within_s=within_s)

    async def register_spec(
        self, spec: InstanceSpec, *, instance: str | None = None, within_s: float | None = None
    ) -> Registration:
        """Do the same as `register`, with the instance and its terms in one value."""
        sent = spec.fields() if instance is None else {**spec.fields(), "instance": instance}
        return await self._value(reader(Registration), "POST", "/registrations", sent, within_s=within_s)

    async def renew(self, id_: str) -> Registration:
        """Renew an instance and change nothing else. Raises `NotFound` if the instance is not registered."""
        return await self._value(reader(Registration), "PUT", path_of(id_))

    async def renew_all(self, ids: Sequence[str], *, within_s: float | None = None) -> list[str]:
        """Renew up to 1,000 instances in one request, and return the ids of those that are not registered.

        `within_s` is as in `call`.
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
        """Remove an instance. Raises `NotFound` if the instance is not registered.

        `instance` is the token of its registration. If another instance has registered under the same id since, this
        raises `Succeeded` and removes nothing. `reason` may be `check-failed`, which is then the reason of the events.
        If `wait_s` (up to 60 seconds) is given, this waits at most that long until all nodes have applied the removal,
        and returns the nodes that have; otherwise it returns None. `within_s` is as in `call`.
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
        """Return the registration of an instance. Raises `NotFound` if the instance is not listed."""
        return await self._value(reader(Registration), "GET", path_of(id_))

    async def registrations(
        self, app: str | None = None, version: str | None = None, *, meta: Mapping[str, str] | None = None
    ) -> list[Registration]:
        """Return the listed instances in order of id: all, or those of an app, or those of a version of an app.

        If `meta` is given, return only the instances whose own `meta` has all these fields. If an instance has a value
        that is not text, its JSON is compared, such as `true`.
        """
        return await self._list(reader(list[Registration]), list_path(app, version, meta or {}))

    async def set_state(self, id_: str, state: str, *, for_s: float | None = None, force: bool = False) -> Word:
        """Set the state of an instance: `drain`, `maint` (maintenance), or `up`, which ignores its health.

        The state lasts `for_s` seconds (by default one day), even if the instance restarts. Raises `NotFound` if no
        node knows the instance. Raises `Refused` if no other member of a backend takes traffic, unless `force` is True.
        """
        body = {"state": state} if for_s is None else {"state": state, "for": for_s}
        return await self._value(reader(Word), "PUT", with_force(f"{path_of(id_)}/state", force=force), body)

    async def state(self, id_: str) -> Word:
        """Return the state that an operator set on an instance. Raises `NotFound` if none is set."""
        return await self._value(reader(Word), "GET", f"{path_of(id_)}/state")

    async def states(self) -> list[Word]:
        """Return the states that operators have set, in order of id, including those of unregistered instances.

        Raises `NotFound` if the node that answers runs a release that does not list states.
        """
        return await self._list(reader(list[Word]), "/states")

    async def take_back_state(self, id_: str) -> None:
        """Remove the state that an operator set on an instance. Raises `NotFound` if none is set."""
        await self._value(read_nothing, "DELETE", f"{path_of(id_)}/state")

    async def guarded(self) -> list[Guarded]:
        """Return the apps that have suspect members, as the node that answers sees them."""
        return await self._list(reader(list[Guarded]), "/guard")

    async def end_guard(self, app: str) -> None:
        """Hide the suspect members of an app on all nodes. The app is not guarded again for the time of one guard.

        Raises `NotFound` if the node that answers has no suspect member of the app.
        """
        await self._value(read_nothing, "DELETE", guard_path(app))

    async def explain(self, id_: str) -> dict[str, Any]:
        """Return why an instance is listed or not, and what each node knows of it: the JSON of `GET /explain/…`.

        Raises `NotFound` if no node knows the instance.
        """
        return await self._value(read_as_dict(Explanation), "GET", explain_path(id_))

    async def consumers(self) -> list[Consumer]:
        """Return the consumers of all nodes, in order of name, including those gone for less than ten minutes."""
        return await self._list(reader(list[Consumer]), "/consumers")

    # Backends and frontends.

    async def backends(self) -> list[Backend]:
        """Return all backends, in order of name."""
        return await self._list(BACKEND_KIND.read_list, BACKEND_KIND.path)

    async def backend(self, name: str) -> Backend:
        """Return a backend, with its tag. Raises `NotFound` if the backend does not exist."""
        return await self._object(BACKEND_KIND, name)

    async def set_backend(
        self, name: str, *, if_match: str | None = None, force: bool = False, **settings: Any
    ) -> Backend:
        """Change the given fields of a backend, or create the backend. A new backend needs `app` and `version`.

        Raises `Refused` in these cases:

        - with the code `CONFLICT` if the version has fewer than `min_members` members online;
        - with the code `STALE` if the backend has changed since a node sent the tag `if_match`;
        - with the code `CONFLICT` if the change takes traffic away from a backend that serves, unless `force` is True.
        """
        return await self._set(BACKEND_KIND, name, settings, if_match, force=force)

    async def backend_history(self, name: str) -> list[Setting]:
        """Return the last 20 settings of a backend, newest first. Raises `NotFound` if the backend never existed."""
        return await self._history(BACKEND_KIND, name)

    async def roll_back_backend(self, name: str, *, force: bool = False) -> Backend:
        """Restore the previous setting of a backend.

        Raises `NotFound` if the backend does not exist, and `Refused` if it has no previous setting. The setting is
        rolled back only once: if an answer is lost and the client asks another node, that node refuses the request with
        the code `STALE`.
        """
        return await self._roll_back(BACKEND_KIND, name, force=force)

    async def remove_backend(self, name: str, *, force: bool = False) -> None:
        """Remove a backend. Raises `NotFound` if the backend does not exist.

        Raises `Refused` if a frontend sends traffic to it while it serves, unless `force` is True.
        """
        await self._value(read_nothing, "DELETE", with_force(join_path("backends", name), force=force))

    async def members(self, name: str) -> list[Member]:
        """Return the members of a backend, in order of id. Raises `NotFound` if the backend does not exist."""
        return await self._list(reader(list[Member]), join_path("backends", name, "members"))

    async def frontends(self) -> list[Frontend]:
        """Return all frontends, in order of name."""
        return await self._list(FRONTEND_KIND.read_list, FRONTEND_KIND.path)

    async def frontend(self, name: str) -> Frontend:
        """Return a frontend, with its tag. Raises `NotFound` if the frontend does not exist."""
        return await self._object(FRONTEND_KIND, name)

    async def set_frontend(
        self, name: str, *, if_match: str | None = None, force: bool = False, **settings: Any
    ) -> Frontend:
        """Change the given fields of a frontend, or create the frontend.

        `if_match` and `force` are as in `set_backend`. The `backend` need not exist while the frontend does not serve.
        The backends of its rules must exist.
        """
        return await self._set(FRONTEND_KIND, name, settings, if_match, force=force)

    async def frontend_history(self, name: str) -> list[Setting]:
        """Return the last 20 settings of a frontend, newest first. Raises `NotFound` if the frontend never existed."""
        return await self._history(FRONTEND_KIND, name)

    async def roll_back_frontend(self, name: str, *, force: bool = False) -> Frontend:
        """Restore the previous setting of a frontend, as `roll_back_backend` does."""
        return await self._roll_back(FRONTEND_KIND, name, force=force)

    async def remove_frontend(self, name: str) -> None:
        """Remove a frontend. Raises `NotFound` if the frontend does not exist."""
        await self._value(read_nothing, "DELETE", join_path("frontends", name))

    async def _object(self, kind: ConfigKind[_Object], name: str) -> _Object:
        return await self._value(kind.read, "GET", kind.path + join_path(name))

    async def _set(
        self, kind: ConfigKind[_Object], name: str, settings: object, if_match: str | None, *, force: bool
    ) -> _Object:
        path = with_force(kind.path + join_path(name), force=force)
        return await self._value(kind.read, "PUT", path, settings, headers=if_match_header(if_match))

    async def _history(self, kind: ConfigKind[_Object], name: str) -> list[Setting]:
        return await self._value(kind.read_history, "GET", kind.path + join_path(name, "history"))

    async def _roll_back(self, kind: ConfigKind[_Object], name: str, *, force: bool) -> _Object:
        before = await self._object(kind, name)
        path = with_force(kind.path + join_path(name, "rollback"), force=force)
        return await self._value(kind.read, "POST", path, headers=if_match_header(before.etag))

    # Nodes.

    async def status(self) -> dict[str, Any]:
        """Return the status of the node that answers, and of the other nodes as it sees them: `GET /status`."""
        return await self._value(read_as_dict(NodeStatus), "GET", "/status")

    async def learn(self) -> None:
        """Find the other nodes, so that the client can ask them when the configured nodes do not answer.

        Raises nothing if no node answers, or if no node knows others.
        """
        if not self._learns:
            return
        with suppress(BenderError):
            self.nodes.learn(api_addresses(await self._value(reader(NodeStatus), "GET", "/status")))

    def watch(
        self,
        app: str | None = None,
        version: str | None = None,
        *,
        name: str | None = None,
        instance: str | None = None,
    ) -> Watch:
        """Watch the objects that are listed now, and then every change.

        The watch covers all objects, or the registrations of an app, or those of a version of an app. If `name` is
        given, the watcher is a consumer: a deregistration that waits also waits until the watcher confirms it.
        `instance` distinguishes the watcher from another program with the same name. It is a token of up to 64 letters,
        digits, dashes and underscores, and random by default.
        """
        from bender.client.watch import Watch  # noqa: PLC0415 - it needs Twisted

        return Watch(self, app, version, name=name, instance=instance)


def _shuffle() -> Callable[[MutableSequence[str]], None]:
    import random  # noqa: PLC0415 - a short command asks nodes in the given order and does not need it

    return random.shuffle
