"""The part of a node that clients see: commands, and the wait until it is ready, as in `bender.node.node` and its API.

Bodies are made here, so that the oracle can recognize each registration, and each change of one, by its body alone.
No two of these have the same body.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from bender.core.ledger import Claim
from bender.core.node_loss_guard import key_of_guard
from bender.core.registration_update import RegistrationUpdate
from bender.core.replica import NotReady

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster, Node


@frozen
class Wanted:
    """The registration that a client requests: its ttl, and `meta`, the part of the body that the client may change.

    `instance` is its token, 0 if the client sends none.
    """

    ttl_s: float
    meta: int = 0
    instance: int = 0


def when_ready(cluster: Cluster, node: Node, then: Callable[[bool], None]) -> None:
    """Call `then` with True as soon as the node is ready, or with False if this takes too long (503)."""
    ready = node.replica.check_ready(cluster.clock(node))
    cluster.drain(node)
    if ready or node.replica.readiness.is_starting or node.left:
        then(ready)
        return
    boot, answered = node.boot, False

    def once(ready: bool) -> None:
        nonlocal answered
        if not answered and node.boot == boot:
            answered = True
            then(ready)

    node.waiting.append(lambda: once(ready=True))
    cluster.after(cluster.interval_s, cluster.deliver, node, boot, lambda: once(ready=False))


def register(cluster: Cluster, node: Node, key: str, wanted: Wanted) -> bool:
    """Process a POST. Return True if the registration was not listed here. Raises NotReady."""
    now = cluster.clock(node)
    replica = node.replica
    version = replica.claims.ledger.version
    existing: bytes | None = None
    succeeds = False

    def merge(registered: bytes | None, _hidden: bytes | None) -> RegistrationUpdate | None:
        nonlocal existing, succeeds
        existing = registered
        if registered is not None and _repeats(wanted, registered):
            return None
        before = 0 if registered is None else _wanted(registered).instance
        succeeds = registered is not None and wanted.instance not in (0, before)
        update = evolve(wanted, instance=wanted.instance or before)
        return RegistrationUpdate(_new_body(cluster, update), update.ttl_s, succeeds)

    try:
        listed = replica.view.claim(key)
        # A node caches bodies that clients repeat, and first tries to renew the registration without a change.
        if listed is not None and _repeats(wanted, listed.body) and replica.renew_as_is(now, key, listed.body):
            existing = listed.body
            created, body = False, listed.body
        else:
            created, body = replica.register(now, key, merge)
    except NotReady:
        cluster.drain(node)
        raise
    new = " created" if created else " in the place of another" if succeeds else ""
    cluster.say(f"POST {key} at {node.name}: {body!r}{new}")
    cluster.oracle.accepted(node, key, body, existing, version, succeeds=succeeds)
    cluster.drain(node)
    return created


def renew(cluster: Cluster, node: Node, key: str) -> bool:
    """Process a PUT. Return False if there is no registration to renew. Raises NotReady."""
    now = cluster.clock(node)
    replica = node.replica
    if not replica.check_ready(now):
        cluster.drain(node)
        raise NotReady
    version = replica.claims.ledger.version
    existing = replica.winner(now, key)
    renewed = replica.renew(now, key) is not None
    cluster.say(f"PUT {key} at {node.name}: {existing!r} {renewed}")
    if renewed:
        body = existing or b""
        cluster.oracle.accepted(node, key, body, existing, version)
    cluster.drain(node)
    return renewed


def shorten(cluster: Cluster, node: Node, key: str, left_s: float) -> None:
    """Process the end of a session's connection."""
    now = cluster.clock(node)
    cluster.say(f"session of {key} ends at {node.name}, with {left_s:g} s")
    cluster.history.session_ended(node.life, key, cluster.now + left_s)
    node.replica.shorten_lease(now, key, left_s)
    cluster.drain(node)


def deregister(cluster: Cluster, node: Node, key: str, instance: int = 0, reason: str | None = None) -> bool:
    """Process a DELETE, which may name an instance and a reason. Return False if there is no such registration.

    Raises NotReady.
    """
    now = cluster.clock(node)
    replica = node.replica
    if not replica.check_ready(now):
        cluster.drain(node)
        raise NotReady
    existing = replica.winner(now, key) if instance else None
    if existing is not None and _wanted(existing).instance not in (0, instance):
        cluster.say(f"DELETE {key} at {node.name}: it is {existing!r} by now")
        cluster.history.counts["succeeded"] += 1
        return False
    known = [entry.body for entry in replica.claims.index.entries(key) if isinstance(entry, Claim)]
    removed = replica.deregister(now, key, reason)
    cluster.say(f"DELETE {key} at {node.name}: {removed}{f' ({reason})' if reason else ''}")
    if removed:
        cluster.oracle.deregistered(node, key, known, reason)
    cluster.drain(node)
    return removed


def configure(cluster: Cluster, node: Node, key: str, body: bytes | None, lasts_s: float | None = None) -> None:
    """Process a PUT or DELETE of a backend, of a frontend, or of an operator's state of an instance.

    Raises NotReady.
    """
    now = cluster.clock(node)
    replica = node.replica
    if not replica.check_ready(now):
        cluster.drain(node)
        raise NotReady
    replica.configure(now, key, body, "somebody", int(cluster.now * 1000), lasts_s)
    cluster.say(f"setting {key} at {node.name}: {body!r}{f' for {lasts_s:.1f} s' if lasts_s else ''}")
    cluster.oracle.configured(node, key)
    cluster.drain(node)


def lift_guard(cluster: Cluster, node: Node, app: str) -> None:
    """Process a DELETE of the guard of an app. Raises NotReady."""
    now = cluster.clock(node)
    replica = node.replica
    if not replica.check_ready(now):
        cluster.drain(node)
        raise NotReady
    replica.lift_guard(now, app, "somebody", int(cluster.now * 1000))
    cluster.say(f"guard of {app} lifted at {node.name}")
    cluster.oracle.configured(node, key_of_guard(app))
    cluster.drain(node)


def _new_body(cluster: Cluster, wanted: Wanted) -> bytes:
    """Return a body that no other registration or change has."""
    cluster.bodies += 1
    return b"%d %g %d %d" % (cluster.bodies, wanted.ttl_s, wanted.meta, wanted.instance)


def _repeats(wanted: Wanted, body: bytes) -> bool:
    """Return True if a request changes nothing of the registration. A request without a token keeps the token."""
    registered = _wanted(body)
    return registered == evolve(wanted, instance=wanted.instance or registered.instance)


def _wanted(body: bytes) -> Wanted:
    """Return the registration that a body describes, without the part that makes the body unique."""
    _, ttl_s, meta, instance = body.split()
    return Wanted(float(ttl_s), int(meta), int(instance))
