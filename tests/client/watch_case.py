"""The base class of the tests of watches."""

from __future__ import annotations

from bender.client import Client
from bender.core.model import RegistrationRequest
from tests.client.cluster import ALL, THREE, ClientCase, Watcher


def instance(port: int, version: str = "1") -> RegistrationRequest:
    return RegistrationRequest("web", version, "10.9.9.9", port)


class WatchCase(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        self.client_of_all = self.client(*ALL)

    def watch(self, client: Client | None = None, **selection: str) -> Watcher:
        watcher = Watcher((client or self.client_of_all).watch(**selection))
        self.addCleanup(self.end, watcher)
        self.network.pass_time(1)
        return watcher

    def end(self, watcher: Watcher) -> None:
        self.result(watcher.watch.aclose())
        self.successResultOf(watcher.taking)

    def up(self, port: int, host: str = THREE, version: str = "1") -> None:
        self.node(host).register(instance(port, version))
        self.network.settle()

    def down(self, port: int, host: str = THREE) -> None:
        self.node(host).deregister(instance(port).key)
        self.network.settle()
