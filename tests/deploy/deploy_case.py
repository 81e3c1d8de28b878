"""Deploys of a backend at three nodes, whose time tests move."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from bender.client import Client, Consumer, NotFound, Reply
from bender.core.model import RegistrationRequest
from bender.deploy import Deploy, DeployOutcome, DeployPlan, DeployProgress, Observation, Step
from bender.deploy.analysis import RequestCount
from bender.deploy.plan import Settings
from bender.net.addresses import NoAnswer
from tests.client.cluster import ALL, THREE, ClientCase

#: A deploy in steps, each of which is watched for ten seconds.
STEPS = DeployPlan("shop", "2", steps=(5, 25, 100), every_s=10, watch_s=5)


#: The backend before the deploy.
OLD = b'{"id":"backend/shop","resource":"Backend","name":"shop","app":"web","version":"1","meta":{"note":"x"}}'


class ProgressRecorder(DeployProgress):
    """Records the progress of a deploy in short lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.observed: list[tuple[float, float]] = []

    def on_begin(self, found: Settings, look: Observation) -> None:
        self.lines.append(f"begins at {found['version']} with {look.members}")

    def on_planned_step(self, step: Step, number: int, of: int) -> None:
        self.lines.append(f"{number}/{of} would take {step.percent:g}")

    def on_step(self, step: Step, number: int, of: int) -> None:
        self.lines.append(f"{number}/{of} takes {step.percent:g}")

    def on_observation(self, step: Step, look: Observation, left_s: float) -> None:
        self.observed.append((step.percent, left_s))

    def on_step_passed(self, step: Step, look: Observation) -> None:
        self.lines.append(f"keeps {step.percent:g}")

    def on_note(self, text: str) -> None:
        self.lines.append(text)


class LoadBalancer:
    """A load balancer that reports its counts, or no load balancer if `counts` is None."""

    def __init__(self) -> None:
        self.counts: dict[str, RequestCount] | None = None
        self.down: list[str] = []

    async def reports(self) -> Sequence[Consumer]:
        if self.counts is None:
            raise NotFound(404, "NOT_FOUND", "the API has no such path", "n1")
        counts = {v: {"requests": c.requests, "errors": c.errors} for v, c in self.counts.items()}
        report = {"down": self.down, "backends": {"shop": counts}}
        return [
            consumer("edge", report, at_ms=5),
            consumer("edge", {"down": [], "backends": {"shop": {"2": {"requests": 10**6, "errors": 0}}}}, at_ms=4),
            consumer("gone", {"down": [], "backends": {}}, connected=False),
            consumer("watcher", None),
        ]


def consumer(name: str, report: dict[str, Any] | None, *, connected: bool = True, at_ms: int = 1) -> Consumer:
    return Consumer(name, "n1", connected, "x-1", 0, at_ms, report)


class UnreliableClient(Client):
    """A client whose requests may fail.

    `on_change` is called before each change is sent. The next `losing` answers to changes are lost. If `hanging` is
    set, no answer to a change arrives, and if `refusing` is set, changes are refused. `shows` has, by node, the backend
    that the node returns instead of the real one.
    """

    on_change: Callable[[bytes], None] = staticmethod(lambda _change: None)
    losing = 0
    shows: Mapping[str, bytes] = {}
    hanging = False
    refusing = False

    async def ask(self, node: str, method: str, path: str, content: bytes | None = None, **more: Any) -> Reply:
        if method == "PUT":
            self.on_change(content or b"")
            if self.hanging:
                await Deferred()
            if self.refusing:
                return Reply(node, 403, b'{"code": "FORBIDDEN", "message": "not you"}')
        reply = await super().ask(node, method, path, content, **more)
        if method == "PUT" and self.losing:
            self.losing -= 1
            raise NoAnswer("does not answer (the connection was lost)")
        shown = self.shows.get(node) if method == "GET" and path == "/backends/shop" else None
        return reply if shown is None else Reply(node, 200, shown, '"old"')


class DeployCase(ClientCase):
    """A backend that version 1 serves with two members, while version 2 has three."""

    def setUp(self) -> None:
        super().setUp()
        for version, count in (("1", 2), ("2", 3)):
            for port in range(1, count + 1):
                self.register(version, port)
        self.set(app="web", version="1", meta={"note": "x"})
        self.progress = ProgressRecorder()
        self.load_balancer = LoadBalancer()
        self.running: Deferred[DeployOutcome] = Deferred()
        self.deploy: Deploy

    def register(self, version: str, port: int) -> None:
        self.node(THREE).register(RegistrationRequest("web", version, "10.0.0.9", port, ttl_s=3600.0))
        self.network.settle()

    def deregister(self, version: str, port: int) -> None:
        self.node(THREE).deregister(f"registration/web/{version}/10.0.0.9/{port}")
        self.network.settle()

    def set(self, **settings: Any) -> None:
        """Change the backend as another client does."""
        self.result(self.client(THREE).set_backend("shop", force=True, **settings))
        self.network.settle()

    @property
    def shop(self) -> dict[str, Any]:
        """Return the version of the backend, and its canary in short."""
        settings = self.result(self.client(THREE).backend("shop")).settings
        canary = settings.get("canary")
        self.assertEqual(settings["meta"], {"note": "x"})
        return {"version": settings["version"], **({canary["version"]: canary["percent"]} if canary else {})}

    @property
    def settings(self) -> int:
        """Return the number of settings in the history, including the first one."""
        return len(self.result(self.client(THREE).backend_history("shop")))

    def unreliable_client(self) -> UnreliableClient:
        return UnreliableClient(self.network, [f"{host}:1729" for host in ALL], shuffle=lambda _: None)

    def begin(self, plan: DeployPlan = STEPS, client: Client | None = None) -> None:
        self.deploy = Deploy(
            self.network, client or self.client(*ALL), plan, self.progress, self.load_balancer.reports, self.wall_ms
        )
        self.running = Deferred.fromCoroutine(self.deploy.run())
        self.network.settle()

    def wall_ms(self) -> int:
        return int(self.network.seconds() * 1000)

    def rehearse(self, plan: DeployPlan = STEPS) -> DeployOutcome:
        self.deploy = Deploy(
            self.network, self.client(*ALL), plan, self.progress, self.load_balancer.reports, self.wall_ms
        )
        return self.result(self.deploy.rehearse())

    def outcome(self, within_s: float = 0) -> DeployOutcome:
        if not self.running.called:
            self.network.pass_time(within_s)
        return self.successResultOf(self.running)

    def failed(self, within_s: float = 0) -> str:
        outcome = self.outcome(within_s)
        self.assertFalse(outcome.succeeded)
        return outcome.text
