"""The times at which a driver writes HAProxy's configuration and reloads it."""

from __future__ import annotations

from pathlib import Path

from bender.client import Stand
from bender.haproxy.driver import CHECK_S
from bender.haproxy.reloader import RETRY_S, START_S_MAX
from tests.haproxy.driver_case import NODE, SHOP, SYNCED, A, B, DriverCase
from tests.haproxy.events import backend, frontend, offline, online


class Shapes(DriverCase):
    def test_a_new_backend_takes_a_reload(self) -> None:
        """Changes at about the same time cause one reload with the present servers, which are read again at once."""
        self.serve(1)
        self.settle(2)
        self.send(backend("api"))
        self.settle(0.05)
        self.send(frontend("api", backend="api", bind="*:81"))
        self.haproxy.pools["shop"][A].weight = 9
        self.settle(0.3)
        self.assertEqual(self.reload.reload_count, 1)
        self.assertEqual(self.haproxy.servers("api"), {A: (0, 1)})
        self.assertEqual(self.reloader.reload_count, 1)

    def test_many_in_a_row(self) -> None:
        """There is at most one reload a second."""
        self.serve(1)
        self.settle(2)
        for i in range(20):
            self.send(backend(f"b{i}"))
            self.settle(0.1)
        self.settle(2)
        self.assertLessEqual(self.reload.reload_count, 4)
        self.assertIn("b19", self.haproxy.pools)

    def test_changes_without_an_end(self) -> None:
        """Further changes do not delay a reload, whether they need a reload themselves or not."""
        self.serve(1)
        self.settle(2)
        self.send(frontend("late", backend="shop", bind="*:81"))
        for i in range(30):
            self.send(backend("shop", "changed", canary={"version": "2", "percent": i}), backend(f"b{i}"))
            self.settle(0.05)
        self.assertIn("frontend late", self.output.read_text())
        self.assertGreaterEqual(self.reload.reload_count, 1)

    def test_what_haproxy_refuses(self) -> None:
        """The last accepted file stays and gets changed members; a refused configuration is tried again later."""
        self.serve(1)
        self.settle(2)
        self.bad = "bad"
        good = self.output.read_text()
        self.send(backend("bad"))
        self.settle(5)
        self.assertEqual((self.output.read_text(), self.reload.reload_count), (good, 0))
        self.assertEqual(getattr(self.reloader.refusal, "why", ""), "it has bad words")
        self.send(online(2))
        self.settle(2)
        self.assertIn(f"server {B} ", self.output.read_text())
        self.assertEqual(self.servers(), {A: (0, 1), B: (0, 1)})
        self.assertEqual(len([text for text in self.checked if "backend/bad" in text]), 1)
        self.settle(RETRY_S)
        self.assertEqual(len([text for text in self.checked if "backend/bad" in text]), 2)
        self.send(backend("bad", "removed"))
        self.settle(2)
        self.assertIsNone(self.reloader.refusal)

    def change_that_cannot_be_written(self) -> Path:
        """Add a server while a folder is in the place of the draft, and return this folder."""
        self.serve(1)
        self.settle(2)
        in_the_way = self.output.with_name(f".{self.output.name}.draft")
        in_the_way.mkdir()
        self.send(online(2))
        self.settle(2)
        return in_the_way

    def test_a_file_that_cannot_be_written(self) -> None:
        """The problem is reported, and the file is tried again after a while."""
        in_the_way = self.change_that_cannot_be_written()
        self.assertIn("cannot be written", str(self.reloader.rewrite_problem))
        self.send(backend("api"))
        self.settle(2)
        self.assertIn("cannot be written", getattr(self.reloader.refusal, "why", ""))
        in_the_way.rmdir()
        self.settle(RETRY_S)
        self.assertIn("backend api", self.output.read_text())
        self.assertIn("api", self.haproxy.pools)
        self.assertIsNone(self.reloader.rewrite_problem)

    def test_a_file_with_other_servers_that_cannot_be_written(self) -> None:
        """The file is written when it becomes writable, without another change."""
        in_the_way = self.change_that_cannot_be_written()
        in_the_way.rmdir()
        self.settle(RETRY_S)
        self.assertIn(f"server {B} ", self.output.read_text())
        self.assertIsNone(self.reloader.rewrite_problem)

    def test_what_haproxy_cannot_begin_with(self) -> None:
        """The file is restored; the configuration is tried again after a while, and then after twice that time."""
        self.serve(1)
        self.settle(2)
        self.reload.works = False
        good = self.output.read_text()
        self.send(backend("api"))
        self.settle(START_S_MAX + 1)
        self.assertEqual(self.output.read_text(), good)
        self.assertIn("did not start", getattr(self.reloader.refusal, "why", ""))
        self.assertEqual(self.reload.reload_count, 1)
        self.settle(RETRY_S + START_S_MAX)
        self.assertEqual(self.reload.reload_count, 2)
        self.settle(2 * RETRY_S - 1)
        self.assertEqual(self.reload.reload_count, 2)
        self.reload.works = True
        self.settle(START_S_MAX)
        self.assertIsNone(self.reloader.refusal)
        self.assertIn("api", self.haproxy.pools)

    def test_what_haproxy_cannot_begin_with_after_another_driver(self) -> None:
        """The file is restored with the text of the other driver, because this driver cannot render it."""
        self.serve(1)
        self.settle(2)
        good = self.output.read_text()
        self.restart_driver()
        self.reload.works = False
        self.send(*SHOP, online(1), backend("api"), SYNCED)
        self.settle(1)
        self.assertNotEqual(self.output.read_text(), good)
        self.settle(START_S_MAX)
        self.assertEqual(self.output.read_text(), good)
        self.send(online(2))
        self.assertEqual(self.servers(), {A: (0, 1), B: (0, 1)})

    def test_who_cannot_reload(self) -> None:
        """A driver that cannot reload writes the file, and waits until HAProxy is reloaded by another program."""
        self.serve(1)
        self.settle(2)
        self.reload.can_reload, self.reload.problem = False, "by hand"
        self.send(backend("api"), online(2))
        self.settle(5)
        self.assertIn("backend api", self.output.read_text())
        self.assertEqual(self.servers(), {A: (0, 1), B: (0, 1)})
        self.haproxy.load(self.output.read_text())
        self.settle(CHECK_S)
        self.assertIsNone(self.reloader.refusal)

    def test_haproxy_begins_again_unnoticed(self) -> None:
        """After an unnoticed restart of HAProxy, the next change also corrects all other servers."""
        self.send(backend("api", app="api"))
        self.serve(1)
        self.settle(2)
        text = self.output.read_text()
        self.send(online(2), offline(1, "expired"))
        self.haproxy.load(text)
        self.assertEqual(self.servers(), {A: (0, 1)})
        self.send(backend("api", "changed", app="api", version="2"))
        self.assertEqual(self.servers(), {B: (0, 1)})

    def test_bender_is_told_only_what_haproxy_has_answered(self) -> None:
        """An event is confirmed only after HAProxy's answer, however long that takes."""
        self.serve(1, 2)
        before = self.acknowledger.acknowledged
        self.haproxy.running = False
        self.send(offline(1, "deregistered"))
        self.settle(10)
        self.assertEqual(self.acknowledger.acknowledged, before)
        self.haproxy.load(self.output.read_text())
        self.settle(1.1)
        self.assertEqual((self.acknowledger.acknowledged, {*self.servers()}), (Stand(NODE, "6"), {B}))

    def test_haproxy_begins_again_by_itself(self) -> None:
        """After a restart with the old file, HAProxy gets all missed changes at once, without a reload."""
        self.serve(1)
        self.settle(2)
        text = self.output.read_text()
        self.haproxy.running = False
        self.send(online(2), offline(1, "expired"))
        self.settle(3)
        self.assertIn("refused", self.driver.silence)
        self.haproxy.load(text)
        self.settle(1.1)
        self.assertEqual(self.servers(), {B: (0, 1)})
        self.assertEqual(self.reload.reload_count, 0)
