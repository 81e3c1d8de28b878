"""When a driver writes HAProxy's configuration, and has it loaded."""

from __future__ import annotations

from pathlib import Path

from bender.client import Stand
from bender.haproxy.driver import CHECK_S
from bender.haproxy.reloader import RETRY_S, START_S_MAX
from tests.haproxy.driver_case import NODE, SHOP, SYNCED, A, B, DriverCase
from tests.haproxy.events import backend, frontend, offline, online


class Shapes(DriverCase):
    def test_a_new_backend_takes_a_reload(self) -> None:
        """One for what comes together, with the servers of that moment, and then it is looked at at once."""
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
        """Not more than one reload a second."""
        self.serve(1)
        self.settle(2)
        for i in range(20):
            self.send(backend(f"b{i}"))
            self.settle(0.1)
        self.settle(2)
        self.assertLessEqual(self.reload.reload_count, 4)
        self.assertIn("b19", self.haproxy.pools)

    def test_changes_without_an_end(self) -> None:
        """They do not put off what takes a reload, whether they take one themselves or not."""
        self.serve(1)
        self.settle(2)
        self.send(frontend("late", backend="shop", bind="*:81"))
        for i in range(30):
            self.send(backend("shop", "changed", canary={"version": "2", "percent": i}), backend(f"b{i}"))
            self.settle(0.05)
        self.assertIn("frontend late", self.output.read_text())
        self.assertGreaterEqual(self.reload.reload_count, 1)

    def test_what_haproxy_refuses(self) -> None:
        """The last good file stays, members go on changing in it, and it is tried again after a while."""
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
        """A server comes while something is in the draft's place: that."""
        self.serve(1)
        self.settle(2)
        in_the_way = self.output.with_name(f".{self.output.name}.draft")
        in_the_way.mkdir()
        self.send(online(2))
        self.settle(2)
        return in_the_way

    def test_a_file_that_cannot_be_written(self) -> None:
        """It is said, and tried again after a while."""
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
        """It is written when it can be, though nothing else has changed by then."""
        in_the_way = self.change_that_cannot_be_written()
        in_the_way.rmdir()
        self.settle(RETRY_S)
        self.assertIn(f"server {B} ", self.output.read_text())
        self.assertIsNone(self.reloader.rewrite_problem)

    def test_what_haproxy_cannot_begin_with(self) -> None:
        """The file is as it was before; it is tried again after a while, and after twice of that."""
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
        """The file is as that one left it, for this one cannot know how to write it."""
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
        """It waits for somebody who does, with a file that is ready for that."""
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
        """Whatever is done next, all of it is looked at."""
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
        """However long that takes."""
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
        """It comes back with the file, and what that lacks is put right at once."""
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
