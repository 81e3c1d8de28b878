"""The effects of changed settings of the machine on HAProxy's configuration."""

from __future__ import annotations

from bender.haproxy.core.custom import Custom, parse_custom
from bender.haproxy.core.machine_settings import Machine
from bender.haproxy.driver import CHECK_S
from bender.haproxy.reloader import RETRY_S
from tests.haproxy.driver_case import SHOP, SYNCED, A, B, DriverCase
from tests.haproxy.events import online

STATS = Machine(stats="127.0.0.1:8404")


def adding(file: str, line: str) -> Machine:
    return Machine(custom=parse_custom({file: line}))


class Machines(DriverCase):
    def use(self, machine: Machine, **problems: str) -> None:
        self.driver.use_machine(machine, problems)
        self.settle(2)

    def text(self) -> str:
        return self.output.read_text()

    def test_a_change(self) -> None:
        """A change causes one reload, and the same settings again cause none."""
        self.serve(1)
        self.use(adding("global.cfg", "user haproxy"))
        self.assertIn("user haproxy", self.text())
        self.assertEqual((self.reload.reload_count, self.servers()), (1, {A: (0, 1)}))
        self.use(adding("global.cfg", "user haproxy"))
        self.assertEqual(self.reload.reload_count, 1)

    def test_what_cannot_be_used(self) -> None:
        """An unusable file is among the problems, and causes no reload."""
        self.serve(1)
        self.use(Machine(), certificates="there are none")
        self.assertEqual(
            (self.driver.desired.all_problems, self.reload.reload_count), ({"certificates": "there are none"}, 0)
        )
        self.use(Machine())
        self.assertEqual(self.driver.desired.all_problems, {})

    def test_what_haproxy_refuses(self) -> None:
        """The last accepted settings stay in the file, also when servers change; the refused ones are tried again."""
        self.serve(1)
        self.use(adding("global.cfg", "user haproxy"))
        self.use(adding("global.cfg", self.bad))
        assert self.reloader.refusal is not None
        self.assertIn("bad words", self.reloader.refusal.why)
        self.send(online(2))
        self.settle(2)
        self.assertEqual({*self.servers()}, {A, B})
        self.assertIn("user haproxy", self.text())
        self.assertIn("10.0.0.1:2", self.text())
        self.assertNotIn(self.bad, self.text())
        self.bad = "other words"
        self.settle(RETRY_S)
        self.assertIn("no such words", self.text())
        self.assertIsNone(self.reloader.refusal)

    def test_lines_that_cannot_be_rendered(self) -> None:
        """Unusable lines are a refusal, and corrected lines are loaded at once."""
        self.serve(1)
        self.use(Machine(custom=Custom(problem="a.cfg line 1: is nothing")))
        assert self.reloader.refusal is not None
        self.assertIn("a.cfg line 1: is nothing", self.reloader.refusal.why)
        self.send(online(2))
        self.settle(2)
        self.assertEqual(({*self.servers()}, self.reload.reload_count), ({A, B}, 0))
        self.use(adding("global.cfg", "user haproxy"))
        self.assertEqual((self.reloader.refusal, self.reload.reload_count), (None, 1))

    def test_what_haproxy_cannot_begin_with(self) -> None:
        """Settings with which HAProxy does not start are removed from the file, and stay out of it."""
        self.serve(1)
        self.reload.problem = "it could not"
        self.use(adding("global.cfg", "user nobody"))
        self.settle(CHECK_S)
        self.assertIsNotNone(self.reloader.refusal)
        self.send(online(2))
        self.settle(3)
        self.assertIn("10.0.0.1:2", self.text())
        self.assertNotIn("user nobody", self.text())

    def test_statistics_alone(self) -> None:
        """Statistics and the operator's sections do not count as frontends that bender has lost."""
        self.driver.stopService()
        custom = parse_custom({"sections.cfg": "listen mine\n    bind 127.0.0.1:1"})
        for _ in range(2):  # the second driver finds the file of the first one
            self.restart_driver()
            self.driver.use_machine(Machine(stats="127.0.0.1:8404", custom=custom), {})
            self.send(SYNCED)
            self.settle(5)
            self.assertIn("bind 127.0.0.1:8404", self.text())
            self.assertEqual((self.driver.hold_reason, self.driver.ready), (None, True))
            self.driver.stopService()
        self.restart_driver()
        self.driver.use_machine(STATS, {})
        self.send(*SHOP, SYNCED)
        self.settle(5)
        self.driver.stopService()
        self.restart_driver()
        self.driver.use_machine(STATS, {})
        self.send(SYNCED)
        self.settle(5)
        self.assertIsNotNone(self.driver.hold_reason)
